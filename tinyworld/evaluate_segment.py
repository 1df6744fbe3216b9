"""Quality of the shipped SAM: `sam_iou` with boxes as prompts, `sam_grid_recall` of the automatic generator."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from processors.models.sam import Segmenter, build
from tinyworld.evaluation_scenes import evaluation_scene
from tinyworld.metrics import mask_iou
from tinyworld.scenes import EVALUATION

CHECKPOINT = Path(__file__).parent / "checkpoints" / "sam"
LEAST_AREA_SHARE = 1 / 64
"""Smallest share of the picture that the automatic generator is expected to find."""
FOUND = 0.5
"""The IoU from which a mask counts as the thing's; the recall at 0.75 is reported as well."""
STRICT = 0.75


def evaluate(seed: int, scenes: int) -> dict[str, object]:
    """The figures over `scenes` scenes, also by number of things and for random weights.

    The generator, which is a hundred times slower, takes every second scene.
    """
    shipped = Segmenter.load(CHECKPOINT)
    shipped.check_reference()
    untrained = randomized(shipped)
    by_boxes, by_grid = _box_ious(shipped, seed, scenes), _grid_ious(shipped, seed, max(scenes // 2, 1))
    return {
        "sam_iou": _mean(by_boxes),
        "sam_grid_recall": _share(by_grid, FOUND),
        "sam_grid_recall_at_75": _share(by_grid, STRICT),
        "sam_iou_by_things": {str(things): float(np.mean(ious)) for things, ious in sorted(by_boxes.items())},
        "sam_grid_recall_by_things": {
            str(things): float(np.mean(np.array(ious) >= FOUND)) for things, ious in sorted(by_grid.items())
        },
        "sam_iou_filled_box": _filled_box_iou(seed, scenes),
        "sam_iou_random": _mean(_box_ious(untrained, seed, min(scenes, 30))),
        "sam_grid_recall_random": _share(_grid_ious(untrained, seed, 3), FOUND),
        "sam_scenes": scenes,
        "sam_grid_scenes": max(scenes // 2, 1),
    }


def randomized(segmenter: Segmenter) -> Segmenter:
    """The same architecture before any training, with random weights from a seed."""
    import msgspec
    import torch

    from processors.models.sam import Geometry

    torch.manual_seed(0)
    geometry = msgspec.json.decode((CHECKPOINT / "geometry.json").read_bytes(), type=Geometry)
    return Segmenter(build(geometry), segmenter.weights, device="cpu", precision="fp32")


def _filled_box_iou(seed: int, scenes: int) -> float:
    """The IoU of a segmenter that only fills the given box."""
    ious = []
    for number in range(scenes):
        _, rendered = evaluation_scene(seed, number)
        for box, truth in zip(rendered.boxes.astype(int), rendered.masks, strict=True):
            ious.append(float(truth.sum() / ((box[2] - box[0]) * (box[3] - box[1]))))
    return float(np.mean(ious))


def _box_ious(segmenter: Segmenter, seed: int, scenes: int) -> dict[int, list[float]]:
    """The IoU of every thing's mask for its true box, by number of things in the scene."""
    reached: defaultdict[int, list[float]] = defaultdict(list)
    for number in range(scenes):
        scene, rendered = evaluation_scene(seed, number)
        masks, _ = segmenter.masks_in_boxes(rendered.image, rendered.boxes)
        for mask, truth in zip(masks, rendered.masks, strict=True):
            reached[len(scene.things)].append(mask_iou(mask, truth))
    return dict(reached)


def _grid_ious(segmenter: Segmenter, seed: int, scenes: int) -> dict[int, list[float]]:
    """The IoU of every large enough thing with the generator's best mask, by number of things."""
    least = LEAST_AREA_SHARE * EVALUATION.width * EVALUATION.height
    reached: defaultdict[int, list[float]] = defaultdict(list)
    for number in range(scenes):
        scene, rendered = evaluation_scene(seed, number)
        masks: list[npt.NDArray[np.bool_]] = [
            mask["segmentation"] for mask in segmenter.segment_everything(rendered.image)
        ]
        for truth in rendered.masks:
            if truth.sum() >= least:
                best = max((mask_iou(mask, truth) for mask in masks), default=0.0)
                reached[len(scene.things)].append(best)
    return dict(reached)


def _mean(reached: dict[int, list[float]]) -> float:
    return float(np.mean([iou for ious in reached.values() for iou in ious]))


def _share(reached: dict[int, list[float]], least: float) -> float:
    return float(np.mean([iou >= least for ious in reached.values() for iou in ious]))
