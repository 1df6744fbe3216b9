"""Skips the expensive stages for a frame that shows nothing new: nothing moved, or only the light changed.

A frame is compared with the last one of its feed that passed, so slow motion adds up until a frame passes. Stills are
measured, never gated. The difference hash is Neal Krawetz's ("Kind of Like That", 2013), 8 × 8 bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from processors.frame import Frame, Verdicts
from processors.opencv import cv2
from processors.shrink import shrink
from schemas.results import register

Gray = NDArray[np.uint8]
HASH_SIDE = 8
PREFIX = "gate:"
"""Prefix of the reasons for frames gated here; a second run removes those of the first."""


class FeedThresholds(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[stages.gate.feeds.NAME]`: values here replace the stage's own for this feed."""

    static_difference: float | None = None
    duplicate_difference: float | None = None
    duplicate_bits: int | None = None
    scene_difference: float | None = None
    scene_bits: int | None = None
    max_quiet_seconds: float | None = None
    stages: tuple[str, ...] | None = None


class GateSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[stages.gate]`. Differences are mean absolute ones of the gray pictures at an eighth, 0 to 1."""

    static_difference: float = 0.0027
    """Below this difference to the last kept frame nothing moves. A still camera's noise and JPEG at quality 90 make
    0.0016 to 0.0026; an object of a fifth of the picture's height that moves by a tenth of its own size makes 0.003."""
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
    makes a difference of 0.08 and 20 bits or more, a large object that moves 0.04."""
    max_quiet_seconds: float = 10.0
    """At least one frame passes in this time, whatever it shows."""
    stages: tuple[str, ...] = ("detect", "track", "caption", "embed")
    """Later stages that a gated frame skips; those that the plan lacks are left out."""
    feeds: dict[str, FeedThresholds] = {}


@dataclass(slots=True)
class GateState:
    """The state of one feed: the last frame that passed, and the times of it and of the newest frame."""

    gray: Gray | None = None
    hash: int = 0
    kept_seconds: float = 0.0
    newest_seconds: float = 0.0


class Measures(msgspec.Struct, frozen=True, kw_only=True):
    """`results["gate"]`: what was measured of a frame, gated or not."""

    luminance: Annotated[float, Meta(ge=0, le=1)]
    """Mean of the gray picture."""
    difference: Annotated[float, Meta(ge=0, le=1)] | None
    """Mean absolute difference to the feed's last frame that passed; None without one of this size."""
    hash: Annotated[str, Meta(pattern="^[0-9a-f]{16}$")]
    """The difference hash of the gray picture, hexadecimal."""
    scene_change: bool
    """Whether the camera looks at something else than in the feed's last frame that passed."""


register("gate", Measures)


class Gate:
    """Measures each frame (`results["gate"]`) and skips later stages for a frame that shows nothing new."""

    Settings = GateSettings

    name, lane = "gate", "cpu"
    requires, provides = frozenset({"pixels"}), frozenset[str]()
    skip_states: ClassVar = {PREFIX: "gated"}
    observed = ("luminance", "difference")

    def __init__(self, settings: GateSettings) -> None:
        self._settings = settings
        self._feeds = {feed: merged(settings, thresholds) for feed, thresholds in settings.feeds.items()}

    def open(self, device: str) -> None: ...

    def initial_state(self) -> GateState:
        return GateState()

    def process(self, frames: Sequence[Frame], states: Mapping[str, Any]) -> Verdicts:
        for frame in frames:
            state = states[frame.key] if frame.kind == "frame" else GateState()
            self._gate(frame, state, self._feeds.get(frame.feed, self._settings))
        return [None] * len(frames)

    def close(self) -> None: ...

    def _gate(self, frame: Frame, state: GateState, settings: GateSettings) -> None:
        assert frame.pixels is not None  # noqa: S101 - `requires`
        gray = eighth(frame.pixels, frame.image.width, frame.image.height)
        bits, difference = difference_hash(gray), mean_difference(gray, state.gray)
        scene_change = state.gray is not None and _scene_changed(difference, bits ^ state.hash, settings)
        frame.results["gate"] = msgspec.to_builtins(
            Measures(
                luminance=round(float(gray.mean()) / 255, 5),
                difference=None if difference is None else round(difference, 5),
                hash=f"{bits:016x}",
                scene_change=scene_change,
            )
        )
        frame.skipped = tuple(entry for entry in frame.skipped if not entry.reason.startswith(PREFIX))
        seconds = (frame.captured or frame.ingested).timestamp()
        reason = _reason(gray, bits, difference, seconds, state, settings)
        state.newest_seconds = seconds
        if reason is None:
            state.gray, state.hash, state.kept_seconds = gray, bits, seconds
        for stage in settings.stages if reason else ():
            frame.skip(stage, f"{PREFIX}{reason}")


def merged(settings: GateSettings, thresholds: FeedThresholds) -> GateSettings:
    """The stage's settings, replaced where the feed's `thresholds` have a value."""
    given = {key: value for key, value in msgspec.structs.asdict(thresholds).items() if value is not None}
    return msgspec.structs.replace(settings, feeds={}, **given)


def _scene_changed(difference: float | None, flipped: int, settings: GateSettings) -> bool:
    """Whether two pictures of this difference, whose hashes differ in the bits set in `flipped`, show two scenes."""
    if difference is None or difference > settings.scene_difference:
        return True
    return difference > settings.scene_difference / 2 and flipped.bit_count() >= settings.scene_bits


def _reason(
    gray: Gray, bits: int, difference: float | None, seconds: float, state: GateState, settings: GateSettings
) -> str | None:
    """Why the frame shows nothing new: `static`, `duplicate`, or None when it passes."""
    if state.gray is None or difference is None or seconds <= state.newest_seconds:
        return None  # nothing to compare with, or a redelivery: work is cheaper than a lost frame
    if seconds - state.kept_seconds >= settings.max_quiet_seconds:
        return None
    if difference < settings.static_difference:
        return "static"
    if (bits ^ state.hash).bit_count() > settings.duplicate_bits:
        return None
    relit = mean_difference(relight(gray, state.gray), state.gray)
    return "duplicate" if relit is not None and relit < settings.duplicate_difference else None


def eighth(pixels: NDArray[np.uint8], width: int, height: int) -> Gray:
    """The gray picture at an eighth of the original's `width` × `height`, at whatever scale `pixels` was decoded."""
    small = shrink(pixels, max(width // 8, 1), max(height // 8, 1))
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)


def mean_difference(gray: Gray, other: Gray | None) -> float | None:
    """Mean absolute difference, 0 to 1; None when there is no other picture or it has another size."""
    if other is None or other.shape != gray.shape:
        return None
    return float(cv2.norm(gray, other, cv2.NORM_L1)) / (255 * gray.size)


def relight(gray: Gray, like: Gray) -> Gray:
    """`gray` scaled to the mean brightness of `like`."""
    return cv2.convertScaleAbs(gray, alpha=(float(like.mean()) + 1) / (float(gray.mean()) + 1)).astype(np.uint8)


def difference_hash(gray: Gray) -> int:
    """64 bits: whether each cell of an 8 × 8 grid is darker than its right neighbor."""
    grid = cv2.resize(gray, (HASH_SIDE + 1, HASH_SIDE), interpolation=cv2.INTER_AREA)
    return int.from_bytes(np.packbits(grid[:, 1:] > grid[:, :-1]).tobytes(), "big")
