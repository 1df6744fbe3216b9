"""Spares the expensive stages a frame that shows nothing new: the picture stands still, or only its light changed.

A frame is compared with the last one of its feed that was let through, so slow motion adds up until it counts.
Stills are measured, never gated. The difference hash is Neal Krawetz's ("Kind of Like That", 2013), 8 × 8 bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import cv2
import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from processors.frame import Frame, Verdicts
from processors.shrink import shrink
from processors.stage import Lane
from schemas.results import register

Grey = NDArray[np.uint8]
HASH_SIDE = 8
PREFIX = "gate:"
"""Begins the reasons of all frames left out here; a second run takes its earlier ones back."""


class FeedThresholds(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[stages.gate.feeds.NAME]`: what is given here holds for this feed instead of the stage's own value."""

    static_difference: float | None = None
    duplicate_difference: float | None = None
    duplicate_bits: int | None = None
    scene_difference: float | None = None
    scene_bits: int | None = None
    max_quiet_seconds: float | None = None
    stages: tuple[str, ...] | None = None


class GateSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[stages.gate]`. Differences are mean absolute ones of the grey pictures at an eighth, 0 to 1."""

    static_difference: float = 0.0027
    """Below this difference to the last kept frame nothing moves. A still camera's noise and JPEG at quality 90 make
    0.0016 to 0.0026; a thing of a fifth of the picture's height that moves by a tenth of its own size makes 0.003."""
    duplicate_difference: float = 0.004
    """Below this difference, once their brightness is made equal, two pictures are the same in another light, provided
    that their hashes are close too (`duplicate_bits`)."""
    duplicate_bits: int = 10
    """Difference hashes of duplicates differ in at most this many of 64 bits: the hash's author calls those "alike"."""
    scene_difference: float = 0.12
    """Above this difference the camera looks at something else. Half of it is enough if the hashes are far apart too
    (`scene_bits`)."""
    scene_bits: int = 20
    """Difference hashes of another scene differ in at least this many of 64 bits. A cut between rooms that look alike
    makes a difference of 0.08 and 20 bits or more, a large thing that moves 0.04."""
    max_quiet_seconds: float = 10.0
    """At least one frame passes in this time, whatever it shows."""
    stages: tuple[str, ...] = ("detect", "track", "caption", "embed")
    """Later stages that a gated frame skips; those that the plan lacks are left out."""
    feeds: dict[str, FeedThresholds] = {}


@dataclass(slots=True)
class Memory:
    """What is kept of a feed: the last frame let through, and when it and the newest frame were."""

    grey: Grey | None = None
    hash: int = 0
    kept_seconds: float = 0.0
    newest_seconds: float = 0.0


class Measures(msgspec.Struct, frozen=True, kw_only=True):
    """`results["gate"]`: what was measured of a frame, let through or not."""

    luminance: Annotated[float, Meta(ge=0, le=1)]
    """Mean of the grey picture."""
    difference: Annotated[float, Meta(ge=0, le=1)] | None
    """Mean absolute difference to the feed's last frame let through; None where there is none of that size."""
    hash: Annotated[str, Meta(pattern="^[0-9a-f]{16}$")]
    scene_change: bool


register("gate", Measures)


class Gate:
    """Measures each frame (`results["gate"]`) and names the stages that a frame without news leaves out."""

    name: ClassVar[str] = "gate"
    lane: ClassVar[Lane] = "cpu"
    requires: ClassVar[frozenset[str]] = frozenset({"pixels"})
    provides: ClassVar[frozenset[str]] = frozenset()
    Settings: ClassVar[type[GateSettings]] = GateSettings

    def __init__(self, settings: GateSettings) -> None:
        self._settings = settings
        self._feeds = {feed: merged(settings, own) for feed, own in settings.feeds.items()}

    def open(self, device: str) -> None:
        """Nothing to load."""

    def close(self) -> None:
        """Nothing to give back."""

    def initial_state(self) -> Memory:
        return Memory()

    def process(self, frames: Sequence[Frame], states: Mapping[str, Any]) -> Verdicts:
        for frame in frames:
            memory = states[frame.key] if frame.kind == "frame" else Memory()
            self._one(frame, memory, self._feeds.get(frame.feed, self._settings))
        return [None] * len(frames)

    def _one(self, frame: Frame, memory: Memory, settings: GateSettings) -> None:
        assert frame.pixels is not None  # noqa: S101 - `requires`
        grey = eighth(frame.pixels, frame.image.width, frame.image.height)
        bits, difference = difference_hash(grey), mean_difference(grey, memory.grey)
        changed = memory.grey is not None and _another_scene(difference, bits ^ memory.hash, settings)
        frame.results["gate"] = msgspec.to_builtins(
            Measures(
                luminance=round(float(grey.mean()) / 255, 5),
                difference=None if difference is None else round(difference, 5),
                hash=f"{bits:016x}",
                scene_change=changed,
            )
        )
        frame.skipped = tuple(entry for entry in frame.skipped if not entry.reason.startswith(PREFIX))
        seconds = (frame.captured or frame.ingested).timestamp()
        reason = _reason(grey, bits, difference, seconds, memory, settings)
        memory.newest_seconds = seconds
        if reason is None:
            memory.grey, memory.hash, memory.kept_seconds = grey, bits, seconds
        for stage in settings.stages if reason else ():
            frame.skip(stage, f"{PREFIX}{reason}")


def merged(settings: GateSettings, own: FeedThresholds) -> GateSettings:
    """The stage's settings with a feed's own values in their place."""
    given = {key: value for key, value in msgspec.structs.asdict(own).items() if value is not None}
    return msgspec.structs.replace(settings, feeds={}, **given)


def _another_scene(difference: float | None, flipped: int, settings: GateSettings) -> bool:
    """Whether two pictures so different, their hashes differing in the bits set in `flipped`, show two scenes."""
    if difference is None or difference > settings.scene_difference:
        return True
    return difference > settings.scene_difference / 2 and flipped.bit_count() >= settings.scene_bits


def _reason(
    grey: Grey, bits: int, difference: float | None, seconds: float, memory: Memory, settings: GateSettings
) -> str | None:
    """Why the frame shows nothing new: `static`, `duplicate`, or None when it passes."""
    if memory.grey is None or difference is None or seconds <= memory.newest_seconds:
        return None  # nothing to compare with, or a redelivery: work is cheaper than a lost frame
    if seconds - memory.kept_seconds >= settings.max_quiet_seconds:
        return None
    if difference < settings.static_difference:
        return "static"
    if (bits ^ memory.hash).bit_count() > settings.duplicate_bits:
        return None
    relit = mean_difference(relight(grey, memory.grey), memory.grey)
    return "duplicate" if relit is not None and relit < settings.duplicate_difference else None


def eighth(pixels: NDArray[np.uint8], width: int, height: int) -> Grey:
    """The grey picture at an eighth of the original's `width` × `height`, whatever scale `pixels` is decoded at."""
    small = shrink(pixels, max(width // 8, 1), max(height // 8, 1))
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)


def mean_difference(grey: Grey, other: Grey | None) -> float | None:
    """Mean absolute difference, 0 to 1; None when there is no other picture or it has another size."""
    if other is None or other.shape != grey.shape:
        return None
    return float(cv2.norm(grey, other, cv2.NORM_L1)) / (255 * grey.size)


def relight(grey: Grey, like: Grey) -> Grey:
    """`grey` made as bright on average as `like`."""
    return cv2.convertScaleAbs(grey, alpha=(float(like.mean()) + 1) / (float(grey.mean()) + 1)).astype(np.uint8)


def difference_hash(grey: Grey) -> int:
    """64 bits: whether each cell of an 8 × 8 grid is darker than its right neighbour."""
    grid = cv2.resize(grey, (HASH_SIDE + 1, HASH_SIDE), interpolation=cv2.INTER_AREA)
    return int.from_bytes(np.packbits(grid[:, 1:] > grid[:, :-1]).tobytes(), "big")
