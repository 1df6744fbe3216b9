"""Whether recent vectors differ: a silently broken model gives every picture the same one."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from streams.metrics import Metrics

RECENT_FRAMES = 64
"""Enough that one static camera among several does not look like a broken model, little enough to follow changes."""


class VectorDrift:
    """Keeps the vectors of the last frames by name; `report` is called once per watch interval, not per frame."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._recent: dict[str, deque[NDArray[np.float32]]] = {}

    def add(self, vectors: Mapping[str, NDArray[np.float32]]) -> None:
        for name, vector in vectors.items():
            self._recent.setdefault(name, deque(maxlen=RECENT_FRAMES)).append(vector)

    def report(self) -> None:
        for name, recent in self._recent.items():
            if len(recent) > 1 and len({vector.size for vector in recent}) == 1:
                self._metrics.mean_cosine.labels(name).set(mean_cosine(np.stack(list(recent))))


def mean_cosine(vectors: NDArray[np.float32]) -> float:
    """The mean cosine over all pairs of distinct rows of `vectors` [n, size], n ≥ 2.

    With unit rows u the sum over all pairs is |Σu|², of which the n pairs with themselves are taken away.
    """
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    n = len(unit)
    total = float(np.square(unit.sum(axis=0)).sum())
    return (total - n) / (n * (n - 1))
