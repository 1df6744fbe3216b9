"""From a similarity to a probability: how likely a picture matches a query.

A cosine means nothing by itself: one model's matches have 0.3 and another's 0.8, and a query like "a picture" is near
everything. So a logistic curve (Platt, 1999) is fitted on the cosine and on the *margin*, the cosine minus the query's
mean over a set of reference pictures. The references ship with the model and are never the index itself: a camera that
always shows one object must still match a query for it. Where a matching head has read the query and the picture
together, its log-odds are one more feature. Where a picture has a caption, so is the share of the query's terms that
its texts do not mention (`search.text_evidence`).

Two files lie beside a CLIP's weights:

- `calibration.json`: `version`, `revision` (of the calibrated weights) and `curves`, each with `features`, `weights`,
  `bias`, `threshold`, and how it was fitted (`queries`, `pictures`, `auroc`). Curves are `text` (cosine, margin),
  `told` (and `unsaid`), `matched` (and `matching`), `matched_told` (and both), and `image` (a picture as the query).
  Of a query's curves the one with the most known features is used.
- `reference_set.safetensors`: float16 unit vectors [references, dimension] under `semantic` (CLIP) and, where
  `image` is calibrated, `visual` (ViT).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

Array = NDArray[np.float32]
Feature = Literal["cosine", "margin", "matching", "unsaid"]

CURVES_FILE = "calibration.json"
REFERENCES_FILE = "reference_set.safetensors"
VERSION = 1
NEAREST = 20
"""The number of pictures without a match, nearest first, that count in a fit: those are what a search would show."""
RIDGE = 1e-4
"""Keeps the weights finite where the features separate matches from the rest without error."""
STEPS = 50
"""Newton's method on two or three weights converges in about ten."""


class BadCalibration(ValueError):  # noqa: N818 - named for the state
    """The files are damaged, of a newer version, or do not fit each other."""


class Curve(Struct, frozen=True, kw_only=True):
    """probability = 1 / (1 + exp(-(bias + weights · features))). A best result below `threshold` is no match."""

    features: tuple[Feature, ...]
    weights: tuple[float, ...]
    bias: float
    threshold: float
    queries: int = 0
    pictures: int = 0
    auroc: float = 0.0
    """Of each query's median match against its best non-match, on the pictures of the fit."""

    def probability(
        self, cosine: Array, mean: Array | float, matching: Array | None = None, unsaid: Array | None = None
    ) -> Array:
        """Probabilities of cosines [n], given the query's mean cosine over the references.

        Where the curve has these features: `matching` [n], the matching head's log-odds, and `unsaid` [n], the share
        of the query's terms that a picture's texts do not mention. Raises ValueError for a missing one.
        """
        rows = stack(self.features, cosine, np.asarray(mean, np.float32), matching, unsaid)
        odds = rows @ np.asarray(self.weights) + self.bias
        return sigmoid(odds).astype(np.float32)


class Calibration(Struct, frozen=True, kw_only=True, eq=False):
    """The curves of one model revision and the unit vectors of its reference pictures, by vector name."""

    revision: str
    curves: dict[str, Curve]
    references: dict[str, Array]

    def mean(self, vector_name: str, query: Array) -> float:
        """The query's mean cosine over the references; `query` is a unit vector."""
        return float((self.references[vector_name] @ query).mean())


def fit(
    queries: Array,
    pictures: Array,
    matches: NDArray[np.bool_],
    references: Array,
    matching: Array | None = None,
    unsaid: Array | None = None,
) -> Curve:
    """Fit a curve on queries [q, d] and pictures [n, d] (unit vectors), `matches` [q, n] being the truth.

    `references` [r, d] are other pictures than `pictures`. `matching` [q, n] holds the matching head's log-odds,
    `unsaid` [q, n] the shares of `search.text_evidence`, both NaN where unknown. Each query's matches weigh as much as
    its nearest non-matches. Raises ValueError without any match or any non-match.
    """
    features: tuple[Feature, ...] = ("cosine", "margin")
    features += ("matching",) if matching is not None else ()
    features += ("unsaid",) if unsaid is not None else ()
    cosines = queries @ pictures.T
    rows = stack(features, cosines, (queries @ references.T).mean(axis=1, keepdims=True), matching, unsaid)
    weights = pair_weights(cosines, matches, ~np.isnan(rows.sum(axis=2)))
    kept = weights > 0
    if not (matches & kept).any() or not (~matches & kept).any():
        raise ValueError("a fit needs pictures that match and pictures that do not")
    solution = logistic(rows[kept], matches[kept], weights[kept])
    odds = np.where(kept, np.nan_to_num(rows) @ solution[:-1] + solution[-1], -np.inf)
    positives, negatives = per_query(np.median, odds, matches & kept), per_query(np.max, odds, ~matches & kept)
    return Curve(
        features=features,
        weights=tuple(float(weight) for weight in solution[:-1]),
        bias=float(solution[-1]),
        threshold=float(sigmoid(np.array(best_threshold(positives, negatives)))),
        queries=len(queries),
        pictures=len(pictures),
        auroc=auroc(positives, negatives),
    )


def nearest_log_odds(match: Callable[[NDArray[np.intp], NDArray[np.intp]], Array], cosines: Array) -> Array:
    """The matching head's log-odds [q, n] of each query's nearest pictures, NaN elsewhere, for `fit`.

    `match` takes indices of queries and, beside them, of pictures, and returns the log-odds of each pair. A match that
    is not among the nearest is left out, since a search would not read it either.
    """
    near = np.argsort(-cosines, axis=1, kind="stable")[:, :NEAREST]
    rows = np.repeat(np.arange(len(cosines)), near.shape[1])
    odds = np.full(cosines.shape, np.nan, np.float32)
    odds[rows, near.ravel()] = match(rows, near.ravel())
    return odds


def save(calibration: Calibration, folder: Path) -> None:
    """Write both files into `folder`, the curves last: where they exist, the references exist too."""
    vectors = {name: array.astype(np.float16) for name, array in calibration.references.items()}
    save_file(vectors, folder / REFERENCES_FILE)
    document = {"version": VERSION, "revision": calibration.revision, "curves": calibration.curves}
    text = msgspec.json.format(msgspec.json.encode(document), indent=2)
    (folder / CURVES_FILE).write_bytes(text + b"\n")


class _Document(Struct, kw_only=True):
    version: int
    revision: str
    curves: dict[str, Curve]


def load(folder: Path) -> Calibration | None:
    """Read what `save` wrote; None when these weights were never calibrated. Raises BadCalibration."""
    path = folder / CURVES_FILE
    if not path.exists():
        return None
    try:
        document = msgspec.json.decode(path.read_bytes(), type=_Document)
        stored = load_file(folder / REFERENCES_FILE)
    except (msgspec.MsgspecError, OSError, SafetensorError) as error:
        raise BadCalibration(f"{path}: {error}") from error
    if document.version != VERSION:
        raise BadCalibration(f"{path}: version {document.version}; this version of Sightline reads {VERSION}")
    references = {name: unit(array.astype(np.float32)) for name, array in stored.items()}
    return Calibration(revision=document.revision, curves=document.curves, references=references)


def unit(vectors: Array) -> Array:
    """Vectors [n, d] or [d] at unit length."""
    length: Array = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / np.maximum(length, 1e-12)).astype(np.float32)


def sigmoid(odds: NDArray[np.floating]) -> NDArray[np.floating]:
    """1 / (1 + exp(-odds)), also for odds on which exp would overflow."""
    half: NDArray[np.floating] = 0.5 * (1 + np.tanh(0.5 * odds))
    return half


def stack(
    features: Sequence[Feature], cosine: Array, mean: Array, matching: Array | None, unsaid: Array | None
) -> NDArray[np.float64]:
    """The named features in the last axis. Raises ValueError for one that is None."""
    columns: Mapping[Feature, Array | None] = {
        "cosine": cosine,
        "margin": cosine - mean,
        "matching": matching,
        "unsaid": unsaid,
    }
    chosen = [columns[name] for name in features]
    if any(column is None for column in chosen):
        raise ValueError(f"this curve needs {' and '.join(features)}, the log-odds of a matching head among them")
    return np.stack([np.asarray(column, np.float64) for column in chosen], axis=-1)


def pair_weights(cosines: Array, matches: NDArray[np.bool_], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Weights [q, n]: each query's matches sum to a half, and so do its nearest non-matches. The rest is 0."""
    weights = np.zeros(cosines.shape)
    for row, (cosine, match, usable) in enumerate(zip(cosines, matches, known, strict=True)):
        negatives = np.flatnonzero(usable & ~match)
        nearest = negatives[np.argsort(-cosine[negatives], kind="stable")[:NEAREST]]
        for chosen in (np.flatnonzero(usable & match), nearest):
            weights[row, chosen] = 0.5 / max(len(chosen), 1)
    return weights


def logistic(rows: NDArray[np.float64], truth: NDArray[np.bool_], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted logistic regression by Newton's method; returns one number per column and the bias last.

    Columns are scaled to zero mean and unit deviation first, so that the ridge treats them alike.
    """
    center, spread = rows.mean(axis=0), rows.std(axis=0) + 1e-9
    design = np.hstack([(rows - center) / spread, np.ones((len(rows), 1))])
    weights = weights / weights.sum()
    penalty = RIDGE * np.eye(design.shape[1])
    solution = np.zeros(design.shape[1])
    for _ in range(STEPS):
        probability = sigmoid(design @ solution)
        gradient = design.T @ (weights * (probability - truth)) + penalty @ solution
        hessian = (design * (weights * probability * (1 - probability))[:, None]).T @ design + penalty
        step = np.linalg.solve(hessian, gradient)
        solution -= step * min(1.0, 4.0 / (np.abs(step).max() + 1e-12))
        if np.abs(step).max() < 1e-9:
            break
    scaled = solution[:-1] / spread
    return np.append(scaled, solution[-1] - center @ scaled)


def per_query(
    measure: Callable[[NDArray[np.float64]], np.floating], odds: NDArray[np.float64], selected: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The measure of each query's odds [q, n] over its selected pictures; queries without any are left out."""
    return np.array([measure(row[chosen]) for row, chosen in zip(odds, selected, strict=True) if chosen.any()])


def best_threshold(positives: NDArray[np.float64], negatives: NDArray[np.float64]) -> float:
    """The odds that separate positives from negatives with the fewest errors, both kinds of error weighing the same."""
    values = np.unique(np.concatenate([positives, negatives]))
    thresholds = (values[1:] + values[:-1]) / 2 if len(values) > 1 else values
    rejected = np.searchsorted(np.sort(negatives), thresholds, side="left") / len(negatives)
    missed = np.searchsorted(np.sort(positives), thresholds, side="left") / len(positives)
    gains = rejected - missed
    return float(np.median(thresholds[gains == gains.max()]))


def auroc(positives: NDArray[np.floating], negatives: NDArray[np.floating]) -> float:
    """The probability that a positive is above a negative, ties counting half (Mann and Whitney, 1947)."""
    ordered = np.sort(negatives)
    below = np.searchsorted(ordered, positives, side="left") + np.searchsorted(ordered, positives, side="right")
    return float(below.mean() / (2 * len(negatives)))
