"""How long a video file says it is, and what of that did not come."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

TOLERATED_PART, TOLERATED_FRAMES, TOLERATED_SECONDS = 0.05, 2, 2.0
"""By how much a header may be wrong: it counts frames that were dropped, or its duration is rounded."""
_DECLARES_DURATION = frozenset({"matroska,webm", "flv", "asf"})
"""Formats whose header has the duration; FFmpeg estimates that of others from what is there."""
_MICROSECOND = Fraction(1, 10**6)


@dataclass(slots=True)
class Reading:
    """What was read of a file: packets of its stream, whole frames, and the time between the first and the last."""

    packets: int = 0
    frames: int = 0
    seconds: float = 0.0


def expected_frames(container: Any, stream: Any, fps: float | None) -> int | None:
    """The approximate number of frames after thinning to `fps`, None if unknown."""
    seconds = _seconds(stream.duration, stream.time_base) or _seconds(container.duration, _MICROSECOND)
    rate = float(stream.average_rate or 0)
    if fps is None or (rate and rate < fps):
        return int(stream.frames) or (round(seconds * rate) if seconds and rate else None)
    return max(1, round(seconds * fps)) if seconds else None


def missing_part(path: Path, container: Any, stream: Any, came: Reading) -> str:
    """What the file names and did not contain ("the file names 100 frames, 37 came"); empty if it is complete."""
    named, seconds = int(stream.frames), _declared_seconds(container, stream)
    if _is_mp4(container):
        cut = came.packets < named and _index_exceeds(path, stream)
    else:
        cut = named - came.packets > max(TOLERATED_FRAMES, named * TOLERATED_PART)
    if cut:
        return f"the file names {named} frames, {came.frames} came"
    if seconds is not None and seconds - came.seconds > max(TOLERATED_SECONDS, seconds * TOLERATED_PART):
        return f"the file names {seconds:.0f} seconds, {came.seconds:.0f} came"
    return ""


def _is_mp4(container: Any) -> bool:
    """An edit list may leave out frames that an MP4's tables name; only its index tells whether they are there."""
    return "mp4" in container.format.name.split(",")


def _index_exceeds(path: Path, stream: Any) -> bool:
    size = path.stat().st_size
    return any(entry.pos + entry.size > size for entry in stream.index_entries)


def _declared_seconds(container: Any, stream: Any) -> float | None:
    """The duration in the file's header, of this stream alone."""
    if container.format.name not in _DECLARES_DURATION:
        return None
    if (text := stream.metadata.get("DURATION", "")) and (parts := text.split(":")) and len(parts) == 3:
        try:
            return 3600 * int(parts[0]) + 60 * int(parts[1]) + float(parts[2])
        except ValueError:
            return None
    return _seconds(container.duration, _MICROSECOND) if len(container.streams) == 1 else None


def _seconds(duration: int | None, time_base: Fraction | None) -> float | None:
    return float(duration * time_base) if duration and time_base else None
