"""Agreement of boxes, masks and tracks with the truth: IoU, average precision, identity F1."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

Boxes = npt.NDArray[np.float32]
MATCH_IOU = 0.5
"""The IoU from which a box counts as correct."""


@dataclass(frozen=True, slots=True)
class Labeled:
    """The boxes of one picture, float32 [n, 4] xyxy, their labels [n] and (of predictions) confidences [n]."""

    boxes: Boxes
    labels: tuple[str, ...]
    confidences: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Tracked:
    """The boxes of one frame, float32 [n, 4] xyxy, and the identity of each [n]."""

    boxes: Boxes
    identities: tuple[Hashable, ...]


def box_iou(left: Boxes, right: Boxes) -> npt.NDArray[np.float64]:
    """Intersection over union of every box [n, 4] with every other [m, 4]: [n, m]."""
    low = np.maximum(left[:, None, :2], right[None, :, :2])
    high = np.minimum(left[:, None, 2:], right[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(axis=2).astype(np.float64)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (left, right)]
    return np.asarray(common / np.maximum(areas[0][:, None] + areas[1][None] - common, 1e-9), np.float64)


def mask_iou(left: npt.NDArray[np.bool_], right: npt.NDArray[np.bool_]) -> float:
    """Intersection over union of two masks of the same size; 1 for two empty masks."""
    union = int((left | right).sum())
    return float((left & right).sum() / union) if union else 1.0


def mean_average_precision(predicted: Sequence[Labeled], truth: Sequence[Labeled]) -> float:
    """The mean over the truth's labels of the average precision at IoU 0.5, over all pictures together.

    Every point of the curve counts (PASCAL VOC 2010). Raises ValueError if there is no truth.
    """
    labels = sorted({label for picture in truth for label in picture.labels})
    if not labels:
        raise ValueError("no picture has a true box")
    return float(np.mean([_average_precision(predicted, truth, label) for label in labels]))


def _average_precision(predicted: Sequence[Labeled], truth: Sequence[Labeled], label: str) -> float:
    hits: list[tuple[float, bool]] = []
    for ours, theirs in zip(predicted, truth, strict=True):
        own = [index for index, name in enumerate(ours.labels) if name == label]
        right = [index for index, name in enumerate(theirs.labels) if name == label]
        agreement, free = box_iou(ours.boxes[own], theirs.boxes[right]), set(range(len(right)))
        for row in sorted(range(len(own)), key=lambda row: -ours.confidences[own[row]]):
            best = max(free, key=lambda column: agreement[row, column], default=None)
            hit = best is not None and agreement[row, best] >= MATCH_IOU
            free -= {best} if hit else set()
            hits.append((ours.confidences[own[row]], hit))
    total = sum(picture.labels.count(label) for picture in truth)
    return _area(hits, total)


def _area(hits: list[tuple[float, bool]], total: int) -> float:
    """The area under the precision-recall curve, with precision made monotonically decreasing."""
    hits.sort(key=lambda entry: -entry[0])
    right = np.cumsum([hit for _, hit in hits])
    precision = right / np.arange(1, len(hits) + 1)
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.diff(np.concatenate([[0.0], right / total]))
    return float((falling * steps).sum())


def identity_f1(predicted: Sequence[Tracked], truth: Sequence[Tracked]) -> float:
    """IDF1 (Ristani et al. 2016), over all frames together.

    True identities are assigned to predicted ones, one to one, so that the most boxes agree (IoU 0.5 or more). IDF1 is
    twice the number of boxes with the right identity over the number of all boxes, predicted and true.
    """
    together: Counter[tuple[Hashable, Hashable]] = Counter()
    for ours, theirs in zip(predicted, truth, strict=True):
        for row, column in zip(*np.nonzero(box_iou(theirs.boxes, ours.boxes) >= MATCH_IOU), strict=True):
            together[theirs.identities[row], ours.identities[column]] += 1
    boxes = sum(len(frame.identities) for frames in (predicted, truth) for frame in frames)
    if not boxes:
        raise ValueError("no boxes to compare")
    true = {identity: row for row, identity in enumerate({pair[0] for pair in together})}
    assigned = {identity: column for column, identity in enumerate({pair[1] for pair in together})}
    counts = np.zeros((len(true), len(assigned)))
    for (left, right), count in together.items():
        counts[true[left], assigned[right]] = count
    return float(2 * counts[linear_sum_assignment(counts, maximize=True)].sum() / boxes)
