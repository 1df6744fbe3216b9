"""Follows objects from frame to frame of a feed, so that one parked car is one thing and not a thousand.

The tracker is C-BIoU (Yang et al., WACV 2023) from roboflow's `trackers`: it compares buffered boxes, which still
overlap where plain ones no longer do because a thinned feed shows few frames a second. It moves on by one step per
frame it sees: frames that the gate leaves out show no motion, so they are no steps. Where the gate has seen the scene
change, every track is new.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import msgspec
import numpy as np
from msgspec import Meta

from processors.frame import Frame, Verdicts
from processors.stage import Lane
from schemas.events import Detection

Share = Annotated[float, Meta(ge=0, le=1)]
FIRST_FRAME = 0
"""C-BIoU names things at once only in a feed's first frame, elsewhere a frame later. Told that every frame is the
first, it names them at once, and no detection goes without a name because it is new."""


class TrackSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[stages.track]`."""

    lost_frames: Annotated[int, Meta(ge=0)] = 15
    """A thing that is not detected in this many frames is gone; if it comes back it has another track."""
    confidence: Share = 0.6
    """A track begins with a detection of at least this confidence; weaker ones only continue it."""
    overlap: Share = 0.2
    """Minimum overlap of buffered boxes, times confidence, that makes two detections one thing."""
    gap_seconds: Annotated[float, Meta(gt=0)] = 60.0
    """After a gap of this length between two frames all tracks are new, because what happened meanwhile is unknown."""


@dataclass(slots=True)
class Following:
    """The memory of one feed. Names of tracks begin with the frame at which it began, so they never come twice."""

    tracker: Any = None
    prefix: str = ""
    newest_seconds: float = field(default=float("-inf"))


class Track:
    """Fills in `track` of the `detections` it requires; stills have none."""

    name: ClassVar[str] = "track"
    lane: ClassVar[Lane] = "cpu"
    requires: ClassVar[frozenset[str]] = frozenset({"detections"})
    provides: ClassVar[frozenset[str]] = frozenset({"detections"})
    Settings: ClassVar[type[TrackSettings]] = TrackSettings

    model: str = "c-biou"
    revision: str = ""

    def __init__(self, settings: TrackSettings) -> None:
        self._settings = settings

    def open(self, device: str) -> None:
        """Import the library, which takes a second."""
        from importlib.metadata import version

        import trackers  # noqa: F401

        self.revision = version("trackers")

    def close(self) -> None:
        """Nothing to give back."""

    def initial_state(self) -> Following:
        return Following()

    def process(self, frames: Sequence[Frame], states: Mapping[str, Any]) -> Verdicts:
        for frame in frames:
            if frame.kind == "frame":
                self._one(frame, states[frame.key])
        return [None] * len(frames)

    def _one(self, frame: Frame, following: Following) -> None:
        seconds = (frame.captured or frame.ingested).timestamp()
        since = seconds - following.newest_seconds
        cut = frame.results.get("gate", {}).get("scene_change", False)
        if following.tracker is None or cut or not 0 < since <= self._settings.gap_seconds:
            following.tracker, following.prefix = self._tracker(), frame.id[:8]
        following.newest_seconds = seconds
        names = _step(following.tracker, frame.detections)
        frame.detections = tuple(
            msgspec.structs.replace(found, track=f"{following.prefix}-{name}" if name >= 0 else "")
            for found, name in zip(frame.detections, names, strict=True)
        )

    def _tracker(self) -> Any:
        from trackers import CBIoUTracker

        settings = self._settings
        # The library counts its buffer in frames of a 30 FPS video, which is then what we say ours is.
        return CBIoUTracker(
            lost_track_buffer=settings.lost_frames,
            frame_rate=30.0,
            track_activation_threshold=settings.confidence,
            high_conf_det_threshold=settings.confidence,
            minimum_consecutive_frames=1,
            minimum_iou_threshold_first_assoc=settings.overlap,
        )


def _step(tracker: Any, detections: Sequence[Detection]) -> list[int]:
    """Move `tracker` on by one frame; the number of each detection's track, -1 for none."""
    import supervision

    seen = supervision.Detections(
        xyxy=np.array([found.box for found in detections], np.float32).reshape(-1, 4),
        confidence=np.array([found.confidence for found in detections], np.float32),
        data={"place": np.arange(len(detections))},
    )
    tracker.frame_id = FIRST_FRAME
    followed = tracker.update(seen)
    names = [-1] * len(detections)
    for place, name in zip(followed.data.get("place", ()), followed.tracker_id, strict=False):
        names[int(place)] = int(name)
    return names
