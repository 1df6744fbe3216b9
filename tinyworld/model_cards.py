"""The model card beside a checkpoint (`sightline.json`) and the reference picture with the expected output."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from processors.models.sam import Segmenter
from processors.models.yolo import Yolo
from tinyworld.render import Image, render
from tinyworld.scenes import sample_scene

SEED, THINGS, JPEG_QUALITY = 31, 4, 95
BOX_PIXELS, CONFIDENCE = 3.0, 0.1
"""Tolerances for another machine or precision (bf16); other weights differ by far more."""
AREA_SHARE = 0.1


def write_reference(folder: Path, things: int = THINGS) -> Image:
    """Write `reference.jpg` and return its decoded pixels."""
    rng = np.random.default_rng(SEED)
    scene = sample_scene(rng, count=things, style="photo")
    pixels = render(scene, rng=rng).image
    path = str(folder / "reference.jpg")
    cv2.imwrite(path, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return np.asarray(cv2.imread(path, cv2.IMREAD_COLOR_RGB), np.uint8)


def describe_detector(folder: Path) -> None:
    """Write the reference picture and the card with the detections of the detector in `folder`."""
    detector, picture = Yolo.load(folder), write_reference(folder)
    detections = sorted(detector.detect([picture])[0], key=lambda each: (each.label, each.box))
    assert len(detections) == THINGS, f"{len(detections)} detections on the reference picture, {THINGS} expected"
    objects = [
        {"label": each.label, "confidence": round(each.confidence, 3), "box": [round(edge, 1) for edge in each.box]}
        for each in detections
    ]
    _write(
        folder,
        {
            "revision": detector.revision,
            "fit": "pad",
            "image_size": detector.image_size,
            "words": list(detector.names),
            "expected": objects,
            "tolerance": {"box_pixels": BOX_PIXELS, "confidence": CONFIDENCE},
        },
    )


def describe_segmenter(folder: Path) -> None:
    """Write the reference picture and the card with the areas of the segmenter's masks for its things' boxes."""
    segmenter, picture = Segmenter.load(folder), write_reference(folder)
    rng = np.random.default_rng(SEED)
    boxes = render(sample_scene(rng, count=THINGS, style="photo"), rng=rng).boxes
    masks, _ = segmenter.masks_in_boxes(picture, boxes)
    objects = [{"box": box.tolist(), "area_pixels": int(mask.sum())} for box, mask in zip(boxes, masks, strict=True)]
    _write(
        folder,
        {
            "revision": segmenter.revision,
            "fit": "pad",
            "image_size": segmenter.image_size,
            "expected": objects,
            "tolerance": {"area_share": AREA_SHARE},
        },
    )


def _write(folder: Path, card: dict[str, object]) -> None:
    (folder / "sightline.json").write_text(json.dumps(card, indent=2) + "\n")
