"""How well each candidate matches the query: cosines and, where models are calibrated, probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from schemas.points import SEMANTIC, VISUAL
from search.calibrate import Calibration
from search.models import Array
from search.text_evidence import unsaid_shares
from stores.index import Hit

TEXT, IMAGE = "text", "image"
MATCHED = ("matched", "matched_told")
RICHER = ("told", *MATCHED)
"""Curves with more features than `text`, the one with the most last."""
SHOW_THRESHOLD = 0.5
"""Where something matches, further pictures of at least this probability are shown too."""
NEGATIVE_WEIGHT = 0.5
"""Weight of a negative's cosine, subtracted from a picture's, while models are uncalibrated."""


@dataclass(frozen=True, slots=True)
class QueryVectors:
    """A query as unit vectors [d].

    `phrases` are the texts of `text` (where there is one) and then of `negatives`; `picture_vector` names the vector
    that `picture` is compared with.
    """

    phrases: tuple[str, ...] = ()
    text: Array | None = None
    negatives: Sequence[Array] = ()
    picture: Array | None = None
    picture_vector: str = VISUAL


@dataclass(frozen=True, slots=True)
class Scores:
    """Of candidates [n]. `positives` are the probabilities that the query's text and picture match; `probabilities`
    are those times the probability that no negative does. Nothing matches unless one of `positives` reaches
    `threshold`."""

    positives: Array
    probabilities: Array
    threshold: float

    @property
    def best(self) -> float:
        return float(self.positives.max(initial=0.0))

    def likely(self) -> list[int]:
        """Indices of the candidates that are shown where something matches, in their order."""
        return [int(index) for index in np.flatnonzero(self.probabilities >= min(self.threshold, SHOW_THRESHOLD))]

    def matches(self) -> bool:
        """Whether any of the likely ones is a match."""
        return any(self.positives[index] >= self.threshold for index in self.likely())


def vectors(hits: Sequence[Hit], name: str) -> Array:
    """The hits' vectors [n, d]; a hit without one has zeros, whose cosine to everything is 0."""
    rows = [np.frombuffer(hit.vectors.get(name, b""), dtype="<f4") for hit in hits]
    matrix = np.zeros((len(rows), max((len(row) for row in rows), default=0)), np.float32)
    for index, row in enumerate(rows):
        matrix[index, : len(row)] = row
    return matrix


def cosines(query: QueryVectors, hits: Sequence[Hit]) -> Array:
    """The scores [n] that rank candidates while models are uncalibrated."""
    positive = np.array([hit.score for hit in hits], np.float32)
    if not hits or not query.negatives:
        return positive
    semantic = vectors(hits, SEMANTIC)
    negative: Array = np.max([semantic @ vector for vector in query.negatives], axis=0)
    return np.asarray(positive - NEGATIVE_WEIGHT * negative, np.float32)


class Scorer:
    """Turns candidates into probabilities; `threshold` overrides the curves' own."""

    def __init__(self, calibration: Calibration | None, threshold: float | None = None) -> None:
        self._calibration = calibration
        self._curves = calibration.curves if calibration else {}
        self._threshold = threshold

    def is_calibrated_for(self, query: QueryVectors) -> bool:
        """Whether the curves that the query needs were fitted."""
        text, picture = bool(query.phrases), query.picture is not None
        return (not text or TEXT in self._curves) and (not picture or IMAGE in self._curves)

    @property
    def uses_matcher(self) -> bool:
        """Whether a curve takes the matching head's log-odds."""
        return any(name in self._curves for name in MATCHED)

    def score(self, query: QueryVectors, hits: Sequence[Hit], log_odds: Array | None = None) -> Scores:
        """`log_odds` [phrases, n] are the matching head's, NaN for pairs that it did not read."""
        if log_odds is None:
            log_odds = np.full((len(query.phrases), len(hits)), np.nan, np.float32)
        unsaid = unsaid_shares(query.phrases, [hit.payload for hit in hits])
        features = zip(log_odds, unsaid, strict=True)
        positives, threshold = np.ones(len(hits), np.float32), 1.0
        if query.text is not None:
            probabilities, threshold = self._of_text(query.text, hits, *next(features))
            positives = positives * probabilities
        if query.picture is not None:
            positives = positives * self._of_curve(query.picture, query.picture_vector, IMAGE, hits)
            threshold *= self._threshold_of(IMAGE)
        probabilities = positives
        for negative, (row_log_odds, row_unsaid) in zip(query.negatives, features, strict=True):
            probabilities = probabilities * (1 - self._of_text(negative, hits, row_log_odds, row_unsaid)[0])
        return Scores(positives, probabilities, threshold)

    def _threshold_of(self, curve: str) -> float:
        return self._curves[curve].threshold if self._threshold is None else self._threshold

    def _of_text(self, query: Array, hits: Sequence[Hit], log_odds: Array, unsaid: Array) -> tuple[Array, float]:
        """Each hit's probability by the richest curve whose features are known of it; that curve's threshold."""
        probabilities, threshold = self._of_curve(query, SEMANTIC, TEXT, hits), self._threshold_of(TEXT)
        for name in RICHER:
            if name not in self._curves:
                continue
            needed = self._curves[name].features
            known = ~((np.isnan(log_odds) & ("matching" in needed)) | (np.isnan(unsaid) & ("unsaid" in needed)))
            if known.any():
                richer = self._of_curve(query, SEMANTIC, name, hits, np.nan_to_num(log_odds), np.nan_to_num(unsaid))
                probabilities, threshold = np.where(known, richer, probabilities), self._threshold_of(name)
        return probabilities, threshold

    def _of_curve(self, query: Array, vector: str, curve: str, hits: Sequence[Hit], *features: Array) -> Array:
        if self._calibration is None or not hits:
            return np.zeros(len(hits), np.float32)
        mean = self._calibration.mean(vector, query)
        return self._curves[curve].probability(vectors(hits, vector) @ query, mean, *features)
