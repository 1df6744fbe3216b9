"""A stage for `bench.year`: vectors made of a picture's hash, so that a year of points takes minutes."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import ClassVar

import msgspec
import numpy as np

from processors.frame import Frame, Verdicts
from processors.stage import Lane
from schemas.events import Embedding


class VectorsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[stages.vectors]`."""

    sizes: dict[str, int]
    """By name of the vector."""


class Vectors:
    """Unit vectors, the same for the same bytes."""

    name: ClassVar[str] = "vectors"
    lane: ClassVar[Lane] = "cpu"
    requires: ClassVar[frozenset[str]] = frozenset({"original", "pixels"})
    provides: ClassVar[frozenset[str]] = frozenset({"embeddings"})
    Settings: ClassVar[type[VectorsSettings]] = VectorsSettings
    model = "hash"
    revision = "1"

    def __init__(self, settings: VectorsSettings) -> None:
        self._sizes = settings.sizes

    def open(self, device: str) -> None: ...

    def close(self) -> None: ...

    def process(self, frames: Sequence[Frame]) -> Verdicts:
        for frame in frames:
            seed = int.from_bytes(sha256(frame.original or b"").digest()[:8], "big")
            frame.embeddings = tuple(self._vector(name, size, seed) for name, size in self._sizes.items())
        return [None] * len(frames)

    def _vector(self, name: str, size: int, seed: int) -> Embedding:
        numbers = np.random.default_rng(seed).standard_normal(size).astype("<f4")
        numbers /= np.linalg.norm(numbers)
        return Embedding(name=name, model=self.model, dimension=size, vector=numbers.tobytes())
