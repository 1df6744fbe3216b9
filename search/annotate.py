"""Draws an event's detections on its picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from processors.opencv import cv2
from schemas.events import FrameEvent
from search.models import Pixels

if TYPE_CHECKING:
    import supervision

JPEG_QUALITY = 90


def annotated(event: FrameEvent, pixels: Pixels) -> bytes:
    """A JPEG of `pixels` (RGB, upright, at any scale) with boxes, labels and tracks."""
    height, width = pixels.shape[:2]
    scene = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    if event.detections:
        import supervision  # its import takes half of a command's start

        detections, texts = _detections(event, width, height)
        thickness = supervision.calculate_optimal_line_thickness((width, height))
        scale = supervision.calculate_optimal_text_scale((width, height))
        by_label = supervision.ColorLookup.CLASS
        scene = supervision.BoxAnnotator(thickness=thickness, color_lookup=by_label).annotate(scene, detections)
        labels = supervision.LabelAnnotator(text_scale=scale, smart_position=True, color_lookup=by_label)
        scene = labels.annotate(scene, detections, texts)
    return cv2.imencode(".jpg", scene, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


def _detections(event: FrameEvent, width: int, height: int) -> tuple[supervision.Detections, list[str]]:
    """Boxes in pixels of a picture of this size, and a text for each."""
    import supervision

    scale = np.array([width / (event.image.width or width), height / (event.image.height or height)] * 2)
    labels = sorted({detection.label for detection in event.detections})
    detections = supervision.Detections(
        xyxy=np.array([detection.box for detection in event.detections]) * scale,
        class_id=np.array([labels.index(detection.label) for detection in event.detections]),
    )
    return detections, [_text(each.label, each.confidence, each.track) for each in event.detections]


def _text(label: str, confidence: float, track: str) -> str:
    return f"{label} {confidence:.0%}" + (f" #{track}" if track else "")
