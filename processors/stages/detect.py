"""Detects objects with YOLOv9, all feeds of a batch together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta

from processors.errors import WrongWeights
from processors.frame import Frame, Verdicts
from schemas.events import Detection
from schemas.results import OUT_OF_DOMAIN_RESULT, OutOfDomain, register

if TYPE_CHECKING:
    from processors.models.yolo import RawDetection, Yolo

Share = Annotated[float, Meta(ge=0, le=1)]


register("detect", OutOfDomain)


class FeedDetection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[stages.detect.feeds.NAME]`: values here replace the stage's own for this feed."""

    confidence: Share | None = None
    labels: tuple[str, ...] | None = None


class DetectSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[stages.detect]`. The wiring layer fills `weights` from the preset when it is empty."""

    weights: str = ""
    """A `.pt` file of ultralytics, or a folder with one; empty: the preset's."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Precision of the computation; `auto` is `fp32` on a CPU and `bf16` on CUDA."""
    confidence: Share = 0.25
    """Detections below this confidence are dropped (ultralytics' default)."""
    iou: Share = 0.7
    """Two boxes of a label that overlap by more than this are one object (ultralytics' default)."""
    labels: tuple[str, ...] = ()
    """Labels to keep; empty keeps all."""
    feeds: dict[str, FeedDetection] = {}


class Detect:
    """Assigns `detections`, most confident first, boxes in pixels of the upright original.

    A frame outside the model's domain has none, and `results["detect"]` says so.
    """

    Settings = DetectSettings

    name, lane = "detect", "gpu"
    requires, provides = frozenset({"pixels"}), frozenset({"detections"})
    model, revision = "", ""

    def __init__(self, settings: DetectSettings) -> None:
        overrides = [feed.confidence for feed in settings.feeds.values() if feed.confidence is not None]
        self._settings = settings
        self._min_confidence = min([settings.confidence, *overrides])
        self._yolo: Yolo | None = None

    def open(self, device: str) -> None:
        """Raises `WrongWeights` when the file is missing, gives another answer on its reference picture, or lacks a
        label of the settings."""
        from processors.models import torch_threads
        from processors.models.checkpoint import WAY_OUT, resolve_precision
        from processors.models.yolo import Yolo

        if not self._settings.weights:
            raise WrongWeights(f"no weights given for YOLO: {WAY_OUT}")
        weights = Path(self._settings.weights).expanduser()
        if not weights.exists():
            raise WrongWeights(f"{weights}: no YOLO there: {WAY_OUT}")
        self._yolo = Yolo.load(weights, device=device, precision=resolve_precision(self._settings.precision, device))
        torch_threads.apply_thread_count()
        self._check_labels(self._yolo.names)
        self._yolo.check_reference()
        self._yolo.detect([np.zeros((64, 64, 3), np.uint8)])
        self.model, self.revision = self._yolo.weights.stem, self._yolo.revision

    def process(self, frames: Sequence[Frame]) -> Verdicts:
        assert self._yolo is not None  # noqa: S101 - `open` comes first
        images = [frame.pixels for frame in frames if frame.pixels is not None]
        batch = self._yolo.detect_in_domain(images, min_confidence=self._min_confidence, max_overlap=self._settings.iou)
        for frame, detections in zip(frames, batch, strict=True):
            if detections is None:
                frame.results[self.name] = OUT_OF_DOMAIN_RESULT
                continue
            kept = [detection for detection in detections if self._keeps(frame.feed, detection)]
            frame.detections = tuple(_in_original(detection, frame) for detection in kept)
        return [None] * len(frames)

    def close(self) -> None:
        self._yolo = None

    def _keeps(self, feed: str, detection: RawDetection) -> bool:
        confidence, labels = self._settings.confidence, self._settings.labels
        if (override := self._settings.feeds.get(feed)) is not None:
            confidence = confidence if override.confidence is None else override.confidence
            labels = labels if override.labels is None else override.labels
        return detection.confidence >= confidence and (not labels or detection.label in labels)

    def _check_labels(self, known: Sequence[str]) -> None:
        of_feeds = {label for override in self._settings.feeds.values() for label in override.labels or ()}
        if unknown := sorted({*self._settings.labels, *of_feeds} - set(known)):
            raise WrongWeights(
                f"stages.detect: the model has no label {', '.join(unknown)} (it has: {', '.join(known)})"
            )


def _in_original(detection: RawDetection, frame: Frame) -> Detection:
    """From pixels of the decoded picture to those of the original."""
    assert frame.pixels is not None  # noqa: S101 - `requires`
    height, width = frame.pixels.shape[:2]
    across, down = frame.image.width / width, frame.image.height / height
    x1, y1, x2, y2 = detection.box
    box = (x1 * across, y1 * down, x2 * across, y2 * down)
    return Detection(label=detection.label, confidence=detection.confidence, box=box)
