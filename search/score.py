"""How much each candidate is what was asked for: cosines and, where models are calibrated, probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from schemas.points import SEMANTIC, VISUAL
from search.calibrate import Calibration, Curve
from search.models import Array
from stores.index import Hit

TEXT, IMAGE = "text", "image"
"""The curves of a calibration that are used here."""
EVEN = 0.5
"""Where something matches, further pictures that are as likely as not are shown too."""
AVERSION = 0.5
"""How much of a negative's cosine counts against a picture while nobody knows what a cosine means."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A query as unit vectors [d]; `negatives` [n, d]. `picture_vector` names what `picture` is compared with."""

    text: Array | None = None
    picture: Array | None = None
    picture_vector: str = VISUAL
    negatives: Sequence[Array] = ()


@dataclass(frozen=True, slots=True)
class Judged:
    """Of candidates [n]: `wanted` is the probability of what was asked for, `chances` that times the probability
    of none of the negatives. The best of `wanted` has to reach `line`, or nothing matches."""

    wanted: Array
    chances: Array
    line: float

    @property
    def best(self) -> float:
        return float(self.wanted.max(initial=0.0))

    def shown(self, limit: int) -> list[int]:
        """Places of the candidates to show, best first; empty where nothing matches."""
        order = np.argsort(-self.chances, kind="stable")
        likely = self.chances >= min(self.line, EVEN)
        found = [int(place) for place in order[:limit] if likely[place]]
        return found if any(self.wanted[place] >= self.line for place in found) else []


def vectors(hits: Sequence[Hit], name: str) -> Array:
    """The hits' vectors [n, d]; a hit without one has zeros, which are like nothing."""
    rows = [np.frombuffer(hit.vectors.get(name, b""), dtype="<f4") for hit in hits]
    found = np.zeros((len(rows), max((len(row) for row in rows), default=0)), np.float32)
    for place, row in enumerate(rows):
        found[place, : len(row)] = row
    return found


def cosines(asked: Asked, hits: Sequence[Hit]) -> Array:
    """What candidates are ranked by as long as models are uncalibrated."""
    like = np.array([hit.score for hit in hits], np.float32)
    if not hits or not asked.negatives:
        return like
    seen = vectors(hits, SEMANTIC)
    unlike: Array = np.max([seen @ negative for negative in asked.negatives], axis=0)
    return np.asarray(like - AVERSION * unlike, np.float32)


def judge(asked: Asked, hits: Sequence[Hit], calibration: Calibration | None, threshold: float | None) -> Judged | None:
    """Probabilities of the candidates; None where a curve that the query needs was never fitted."""
    curves = calibration.curves if calibration else {}
    if calibration is None or (asked.picture is not None and IMAGE not in curves) or TEXT not in curves:
        return None
    wanted, line = np.ones(len(hits), np.float32), 1.0
    if asked.text is not None:
        wanted = wanted * _probability(asked.text, SEMANTIC, curves[TEXT], hits, calibration)
        line *= curves[TEXT].threshold if threshold is None else threshold
    if asked.picture is not None:
        wanted = wanted * _probability(asked.picture, asked.picture_vector, curves[IMAGE], hits, calibration)
        line *= curves[IMAGE].threshold if threshold is None else threshold
    chances = wanted
    for negative in asked.negatives:
        chances = chances * (1 - _probability(negative, SEMANTIC, curves[TEXT], hits, calibration))
    return Judged(wanted, chances, line)


def _probability(query: Array, name: str, curve: Curve, hits: Sequence[Hit], calibration: Calibration) -> Array:
    if not hits:
        return np.zeros(0, np.float32)
    return curve.probability(vectors(hits, name) @ query, calibration.mean(name, query))
