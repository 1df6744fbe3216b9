"""The reference picture and `sightline.json` beside a checkpoint: what it is, and what it answers to one picture."""

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
"""How far another machine or precision (bf16) may be off; other weights are off by far more."""
AREA_SHARE = 0.1


def write_reference(folder: Path, things: int = THINGS) -> Image:
    """Write `reference.jpg` and return its pixels as they decode."""
    rng = np.random.default_rng(SEED)
    scene = sample_scene(rng, count=things, style="photo")
    pixels = render(scene, rng=rng).image
    path = str(folder / "reference.jpg")
    cv2.imwrite(path, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return np.asarray(cv2.imread(path, cv2.IMREAD_COLOR_RGB), np.uint8)


def describe_detector(folder: Path) -> None:
    """Write the reference and what the detector in `folder` finds on it."""
    detector, picture = Yolo.load(folder), write_reference(folder)
    found = sorted(detector.detect([picture])[0], key=lambda one: (one.label, one.box))
    assert len(found) == THINGS, f"{len(found)} found on the reference picture"
    objects = [
        {"label": one.label, "confidence": round(one.confidence, 3), "box": [round(edge, 1) for edge in one.box]}
        for one in found
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
    """Write the reference and how large the masks are that the segmenter in `folder` finds in its things' boxes."""
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


def _write(folder: Path, described: dict[str, object]) -> None:
    (folder / "sightline.json").write_text(json.dumps(described, indent=2) + "\n")
