"""How much each candidate is what was asked for: cosines and, where models are calibrated, probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from schemas.points import SEMANTIC, VISUAL
from search.calibrate import Calibration
from search.models import Array
from search.said import unsaid
from stores.index import Hit

TEXT, IMAGE = "text", "image"
MATCHED = ("matched", "matched_told")
RICHER = ("told", *MATCHED)
"""Curves that know more than `text`, the one that knows most last."""
SHOW_THRESHOLD = 0.5
"""Where something matches, further pictures that are as likely as not are shown too."""
NEGATIVE_WEIGHT = 0.5
"""How much of a negative's cosine counts against a picture while nobody knows what a cosine means."""


@dataclass(frozen=True, slots=True)
class QueryVectors:
    """A query as unit vectors [d]. `phrases` are what `text` (where there is one) and then `negatives` were made
    from; `picture_vector` names what `picture` is compared with."""

    phrases: tuple[str, ...] = ()
    text: Array | None = None
    negatives: Sequence[Array] = ()
    picture: Array | None = None
    picture_vector: str = VISUAL


@dataclass(frozen=True, slots=True)
class Scores:
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
        likely = self.chances >= min(self.line, SHOW_THRESHOLD)
        found = [int(place) for place in order[:limit] if likely[place]]
        return found if any(self.wanted[place] >= self.line for place in found) else []


def vectors(hits: Sequence[Hit], name: str) -> Array:
    """The hits' vectors [n, d]; a hit without one has zeros, which are like nothing."""
    rows = [np.frombuffer(hit.vectors.get(name, b""), dtype="<f4") for hit in hits]
    found = np.zeros((len(rows), max((len(row) for row in rows), default=0)), np.float32)
    for place, row in enumerate(rows):
        found[place, : len(row)] = row
    return found


def cosines(asked: QueryVectors, hits: Sequence[Hit]) -> Array:
    """What candidates are ranked by as long as models are uncalibrated."""
    like = np.array([hit.score for hit in hits], np.float32)
    if not hits or not asked.negatives:
        return like
    seen = vectors(hits, SEMANTIC)
    unlike: Array = np.max([seen @ negative for negative in asked.negatives], axis=0)
    return np.asarray(like - NEGATIVE_WEIGHT * unlike, np.float32)


class Scorer:
    """Turns candidates into probabilities; `threshold` overrides the curves' own."""

    def __init__(self, calibration: Calibration | None, threshold: float | None = None) -> None:
        self._calibration = calibration
        self._curves = calibration.curves if calibration else {}
        self._threshold = threshold

    def can(self, asked: QueryVectors) -> bool:
        """Whether the curves that the query needs were fitted."""
        text, picture = bool(asked.phrases), asked.picture is not None
        return (not text or TEXT in self._curves) and (not picture or IMAGE in self._curves)

    @property
    def rereads(self) -> bool:
        """Whether the matching head's log-odds say something."""
        return any(name in self._curves for name in MATCHED)

    def judge(self, asked: QueryVectors, hits: Sequence[Hit], odds: Array | None = None) -> Scores:
        """`odds` [phrases, n] are the matching head's, NaN where it did not look."""
        blank = np.full((len(asked.phrases), len(hits)), np.nan, np.float32)
        known = zip(blank if odds is None else odds, unsaid(asked.phrases, [hit.payload for hit in hits]), strict=True)
        wanted, line = np.ones(len(hits), np.float32), 1.0
        if asked.text is not None:
            likely, line = self._like_text(asked.text, hits, *next(known))
            wanted = wanted * likely
        if asked.picture is not None:
            wanted = wanted * self._like(asked.picture, asked.picture_vector, IMAGE, hits)
            line *= self._line(IMAGE)
        chances = wanted
        for negative, (row, missing) in zip(asked.negatives, known, strict=True):
            chances = chances * (1 - self._like_text(negative, hits, row, missing)[0])
        return Scores(wanted, chances, line)

    def _line(self, curve: str) -> float:
        return self._curves[curve].threshold if self._threshold is None else self._threshold

    def _like_text(self, query: Array, hits: Sequence[Hit], odds: Array, missing: Array) -> tuple[Array, float]:
        """Each hit by the curve that knows most of it, and the line of the best such curve."""
        chances, line = self._like(query, SEMANTIC, TEXT, hits), self._line(TEXT)
        for name in RICHER:
            if name not in self._curves:
                continue
            needed = self._curves[name].features
            known = ~((np.isnan(odds) & ("matching" in needed)) | (np.isnan(missing) & ("unsaid" in needed)))
            if known.any():
                richer = self._like(query, SEMANTIC, name, hits, np.nan_to_num(odds), np.nan_to_num(missing))
                chances, line = np.where(known, richer, chances), self._line(name)
        return chances, line

    def _like(self, query: Array, name: str, curve: str, hits: Sequence[Hit], *known: Array) -> Array:
        if self._calibration is None or not hits:
            return np.zeros(len(hits), np.float32)
        mean = self._calibration.mean(name, query)
        return self._curves[curve].probability(vectors(hits, name) @ query, mean, *known)
