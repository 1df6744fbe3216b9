"""Folds nearly equal pictures of one scene into one: a fixed camera would fill a page with a single view.

Two pictures show one scene where they are of one feed, taken near in time, and their vectors are nearly equal. Hits
are folded in the order in which they come, so the scenes of a shorter list are the start of those of a longer one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from schemas.points import SEMANTIC, VISUAL
from search.models import Array
from stores.errors import Refused
from stores.index import Hit
from stores.latest import instant

GAP_SECONDS = 600.0
"""A picture belongs to a scene that was last seen, or is next seen, within this time of it."""
COSINE = 0.98
"""Of the vectors of two pictures that differ by noise, light and small movements."""
TIME = "time"


@dataclass(slots=True)
class Scene:
    """The first of its hits stands for it."""

    hit: Hit
    vector: Array
    first: float
    last: float
    similar: list[str] = field(default_factory=list)

    def takes(self, seconds: float, cosine: float) -> bool:
        return cosine >= COSINE and self.first - GAP_SECONDS <= seconds <= self.last + GAP_SECONDS


class Scenes:
    """Scenes in the order of their first hits, whose vectors have to be read with them."""

    def __init__(self) -> None:
        self._by_feed: dict[str, list[Scene]] = {}
        self._scenes: dict[str, Scene] = {}

    def add(self, hits: Iterable[Hit]) -> list[Hit]:
        """Those of `hits` that begin a scene; the others are counted with the scene that they belong to."""
        return [hit for hit in hits if self._begins(hit)]

    def similar(self, hit: str) -> tuple[str, ...]:
        """Ids of the hits that were folded into the one with the id `hit`."""
        return tuple(self._scenes[hit].similar) if hit in self._scenes else ()

    def _begins(self, hit: Hit) -> bool:
        vector, seconds = _vector(hit), _seconds(hit)
        if vector is None or seconds is None:
            return True
        scenes = self._by_feed.setdefault(hit.payload.get("feed") or "", [])
        for scene, cosine in zip(scenes, _cosines(scenes, vector), strict=True):
            if scene.takes(seconds, cosine):
                scene.similar.append(hit.id)
                scene.first, scene.last = min(scene.first, seconds), max(scene.last, seconds)
                return False
        scene = Scene(hit, vector, seconds, seconds)
        scenes.append(scene)
        self._scenes[hit.id] = scene
        return True


def _cosines(scenes: Sequence[Scene], vector: Array) -> Sequence[float]:
    same = [scene.vector if scene.vector.shape == vector.shape else np.zeros_like(vector) for scene in scenes]
    return [float(cosine) for cosine in np.stack(same) @ vector] if same else ()


def _vector(hit: Hit) -> Array | None:
    stored = hit.vectors.get(VISUAL) or hit.vectors.get(SEMANTIC)
    return np.frombuffer(stored, dtype="<f4") if stored else None


def _seconds(hit: Hit) -> float | None:
    try:
        return instant(hit, TIME).timestamp()
    except Refused:
        return None
