"""Decodes video files with PyAV: upright frames, thinned by time stamp, never by frame number."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from streams.sources.source import UnreadableSource

FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf,h264,hevc,mpegvideo,ivf"
"""Demuxers that read one file. Lists (concat, hls) are excluded: a text file named `.mp4` would open other files."""
Order = Literal["rgb24", "bgr24"]
_UPRIGHT = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, -90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, -180: cv2.ROTATE_180}
_ASSUMED_FPS = 25
_ROUNDING = 1e-6
"""Time stamps are fractions: a frame that misses its tick by a rounding error counts as on it."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """A frame's time stamp: in units of the file, and in seconds since the first frame."""

    pts: int
    seconds: float


@dataclass(slots=True)
class VideoFile:
    """An open file. `damaged` counts packets that could not be decoded; they are skipped."""

    path: Path
    container: Any
    damaged: int = 0

    def stamped(self) -> Generator[tuple[Stamp, Any], None, None]:
        """PyAV's frames of the first video stream, in order of display.

        An elementary stream (`.h264`) has no time stamps: the frame's number stands for it. That is as stable, because
        the file is identified by its hash.
        """
        stream = self.container.streams.video[0]
        rate, tick_seconds = float(stream.average_rate or _ASSUMED_FPS), float(stream.time_base or 0)
        first: int | None = None
        for number, frame in enumerate(self._frames()):
            if frame.pts is None:
                yield Stamp(number, number / rate), frame
                continue
            first = frame.pts if first is None else first
            yield Stamp(frame.pts, (frame.pts - first) * tick_seconds), frame

    def _frames(self) -> Generator[Any, None, None]:
        stream = self.container.streams.video[0]
        stream.thread_type = "AUTO"
        packets = iter(self.container.demux(stream))
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                yield from packet.decode()
            except av.error.InvalidDataError:
                self.damaged += 1

    def expected(self, fps: float | None) -> int | None:
        """The approximate number of frames after thinning, None if unknown."""
        stream = self.container.streams.video[0]
        seconds = _seconds(stream.duration, stream.time_base) or _seconds(self.container.duration, Fraction(1, 10**6))
        rate = float(stream.average_rate or 0)
        if fps is None or (rate and rate < fps):
            return int(stream.frames) or (round(seconds * rate) if seconds and rate else None)
        return max(1, round(seconds * fps)) if seconds else None


def _seconds(duration: int | None, time_base: Fraction | None) -> float | None:
    return float(duration * time_base) if duration and time_base else None


@contextlib.contextmanager
def open_video(path: Path) -> Generator[VideoFile, None, None]:
    """Open a video file. Raises UnreadableSource with the path and what to do."""
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
    try:
        container = av.open(f"file:{path.absolute()}", options=options, metadata_errors="replace")
    except FileNotFoundError:
        raise UnreadableSource(f"{path}: no such file; check the path") from None
    except PermissionError:
        raise UnreadableSource(f"{path}: not readable by this user; change its permissions") from None
    except (av.error.FFmpegError, OSError, ValueError) as error:
        advice = "convert it, for example: ffmpeg -i IN -c:v libx264 OUT.mp4"
        raise UnreadableSource(f"{path}: not a video that can be read ({_reason(error)}); {advice}") from error
    with container:
        if not container.streams.video:
            raise UnreadableSource(f"{path}: contains no video stream; choose another file")
        yield VideoFile(path, container)


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def thin(stamped: Iterable[tuple[Stamp, Any]], fps: float | None) -> Generator[tuple[Stamp, Any], None, None]:
    """The first frame of every 1/`fps` seconds; all frames without `fps`."""
    last = -1
    for stamp, frame in stamped:
        tick = last + 1 if fps is None else int(stamp.seconds * fps + _ROUNDING)
        if tick > last:
            last = tick
            yield stamp, frame


def pixels(frame: Any, order: Order = "rgb24") -> NDArray[np.uint8]:
    """uint8 [height, width, 3], rotated upright by the display matrix."""
    flat: NDArray[np.uint8] = frame.to_ndarray(format=order)
    turn = _UPRIGHT.get(frame.rotation)
    return flat if turn is None else np.asarray(cv2.rotate(flat, turn), dtype=np.uint8)


def decode_frames(path: Path, *, fps: float | None = None) -> Generator[NDArray[np.uint8], None, None]:
    """Upright RGB frames [height, width, 3] of a video file. Raises UnreadableSource."""
    with open_video(path) as video:
        for _, frame in thin(video.stamped(), fps):
            yield pixels(frame)
