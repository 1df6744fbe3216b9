"""Tracks objects from frame to frame of a feed, so that one parked car is one thing and not a thousand.

The tracker is C-BIoU (Yang et al., WACV 2023) from roboflow's `trackers`. It compares buffered boxes, which still
overlap where plain ones no longer do because a thinned feed shows few frames a second. Each frame it receives is one
step: frames that the gate skips show no motion and are no steps. After a scene change that the gate reports, every
track is new.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from processors.frame import Frame, Verdicts
from schemas.events import Detection

Share = Annotated[float, Meta(ge=0, le=1)]
FIRST_FRAME = 0
"""C-BIoU gives new objects a track at once only in a feed's first frame, elsewhere a frame later. With every frame
numbered as the first, no detection is without a track because it is new."""


class TrackSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[stages.track]`."""

    lost_frames: Annotated[int, Meta(ge=0)] = 15
    """An object that is not detected in this many frames is gone; if it comes back it has another track."""
    confidence: Share = 0.6
    """A track begins with a detection of at least this confidence; weaker ones only continue it."""
    overlap: Share = 0.2
    """Minimum overlap of buffered boxes, times confidence, that makes two detections one object."""
    gap_seconds: Annotated[float, Meta(gt=0)] = 60.0
    """After a gap of this length between two frames all tracks are new, because what happened meanwhile is unknown."""


@dataclass(slots=True)
class TrackState:
    """The state of one feed. `prefix`, of the frame at which the tracker began, makes track names unique."""

    tracker: Any = None
    prefix: str = ""
    newest_seconds: float = field(default=float("-inf"))


class Track:
    """Fills in `track` of the `detections` it requires; stills have none."""

    Settings = TrackSettings

    name, lane = "track", "cpu"
    requires, provides = frozenset({"detections"}), frozenset({"detections"})
    model, revision = "c-biou", ""

    def __init__(self, settings: TrackSettings) -> None:
        self._settings = settings

    def open(self, device: str) -> None:
        """Import the library, which takes a second."""
        from importlib.metadata import version

        import trackers  # noqa: F401

        self.revision = version("trackers")

    def initial_state(self) -> TrackState:
        return TrackState()

    def process(self, frames: Sequence[Frame], states: Mapping[str, Any]) -> Verdicts:
        for frame in frames:
            if frame.kind == "frame":
                self._track(frame, states[frame.key])
        return [None] * len(frames)

    def close(self) -> None: ...

    def _track(self, frame: Frame, state: TrackState) -> None:
        seconds = (frame.captured or frame.ingested).timestamp()
        elapsed = seconds - state.newest_seconds
        scene_change = frame.results.get("gate", {}).get("scene_change", False)
        if state.tracker is None or scene_change or not 0 < elapsed <= self._settings.gap_seconds:
            state.tracker, state.prefix = self._tracker(), frame.id[:8]
        state.newest_seconds = seconds
        numbers = _step(state.tracker, frame.detections)
        frame.detections = tuple(
            msgspec.structs.replace(detection, track=f"{state.prefix}-{number}" if number >= 0 else "")
            for detection, number in zip(frame.detections, numbers, strict=True)
        )

    def _tracker(self) -> Any:
        from trackers import CBIoUTracker

        settings = self._settings
        # The library counts its buffer in frames of a video of 30 frames a second, hence this rate.
        return CBIoUTracker(
            lost_track_buffer=settings.lost_frames,
            frame_rate=30.0,
            track_activation_threshold=settings.confidence,
            high_conf_det_threshold=settings.confidence,
            minimum_consecutive_frames=1,
            minimum_iou_threshold_first_assoc=settings.overlap,
        )


def _step(tracker: Any, detections: Sequence[Detection]) -> list[int]:
    """Advance `tracker` by one frame; return the number of each detection's track, -1 for none."""
    import supervision

    boxes = supervision.Detections(
        xyxy=np.array([detection.box for detection in detections], np.float32).reshape(-1, 4),
        confidence=np.array([detection.confidence for detection in detections], np.float32),
        data={"index": np.arange(len(detections))},
    )
    tracker.frame_id = FIRST_FRAME
    tracked = tracker.update(boxes)
    numbers = [-1] * len(detections)
    for index, number in zip(tracked.data.get("index", ()), tracked.tracker_id, strict=False):
        numbers[int(index)] = int(number)
    return numbers
