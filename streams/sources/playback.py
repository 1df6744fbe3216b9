"""A video file as a source: laps, pacing and JPEG encoding around `streams.sources.video`."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from processors.opencv import cv2
from schemas.events import Kind, Recording
from schemas.identity import video_position
from streams.clock import Clock, utc
from streams.sources.images import stable_path
from streams.sources.recordings import read_recording, root_of
from streams.sources.source import Offer, Picture, Refusal, Repeated, Seen, UnreadableSource, is_picture
from streams.sources.thread_iterator import iterate_in_thread
from streams.sources.video import VideoFile, open_video, thin
from streams.sources.whole_frames import DECODER_ERRORS

_CHUNK_FRAMES = 4
"""Frames decoded ahead. A 4K frame is 25 MB, so few; enough for decoding and encoding to overlap."""
CUT_SHORT, DAMAGED_PACKET = "cut_short", "damaged_packet"
INCOMPLETE = frozenset({CUT_SHORT, DAMAGED_PACKET})
"""Reasons for which a film is reported though its other frames are accepted."""
_SINGLE_FRAME_SECONDS = 1.0
"""Duration of a lap of a single frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Playback:
    """How a video is played.

    With `laps` None it is played without end, from the last lap that was accepted before. With `realtime` each frame
    waits until it is due and has a captured time; otherwise frames come as fast as they are taken.
    """

    fps: float | None = None
    realtime: bool = False
    laps: int | None = 1
    limit: int | None = None
    quality: int = 90

    def __post_init__(self) -> None:
        if self.fps is not None and not 0 < self.fps <= 1_000:
            raise ValueError(f"fps is {self.fps:g}; use a number above 0, at most 1000")
        if not 1 <= self.quality <= 100:
            raise ValueError(f"quality is {self.quality}; use a number from 1 to 100")
        if (self.laps is not None and self.laps < 1) or (self.limit is not None and self.limit < 1):
            raise ValueError("laps and limit must be at least 1")


@dataclass(frozen=True, slots=True)
class _Shown:
    """A frame of one lap; `bgr` is None if it was accepted before. `seconds` count from the start of the first lap."""

    position: str
    seconds: float
    bgr: NDArray[np.uint8] | None


class VideoSource:
    """The frames of a video file, JPEG-encoded, in order of display."""

    kind: Kind = "frame"
    repeatable = True

    def __init__(self, path: Path, playback: Playback, clock: Clock) -> None:
        self._path = path
        self._playback = playback
        self._clock = clock
        self._start: tuple[float, float] | None = None
        self._earlier: Sequence[Recording] | None = None

    def recorded(self, earlier: Sequence[Recording]) -> None:
        """What the feed has of `earlier` readings: then a file that has grown since is known again."""
        self._earlier = earlier

    async def total(self) -> int | None:
        """Raises UnreadableSource."""
        expected = await asyncio.to_thread(self._expected)
        laps, limit = self._playback.laps, self._playback.limit
        known = [n for n in (expected * laps if expected and laps else None, limit) if n is not None]
        return min(known, default=None)

    def _expected(self) -> int | None:
        with open_video(self._path) as video:
            return video.expected(self._playback.fps)

    async def offers(self, seen: Seen) -> AsyncGenerator[Offer, None]:
        sha256 = await asyncio.to_thread(file_sha256, self._path)
        if self._earlier is not None:
            if (reading := await asyncio.to_thread(read_recording, self._path, sha256, self._earlier)) is not None:
                yield reading
            sha256 = root_of(sha256, self._earlier) if reading is None else reading.recording.root
        chunk_size = 1 if self._playback.realtime else _CHUNK_FRAMES
        offered = 0
        async with aclosing(iterate_in_thread(self._laps(sha256, seen), chunk_size)) as chunks:
            async for chunk in chunks:
                for offer in await asyncio.gather(*(self._offer(frame) for frame in chunk)):
                    yield offer
                    offered += is_picture(offer)
                    if offered == self._playback.limit:
                        return

    async def _offer(self, shown: _Shown | Refusal) -> Offer:
        if isinstance(shown, Refusal):
            return shown
        if shown.bgr is None:
            return Repeated(shown.position)
        captured = await self._wait_until_due(shown.seconds) if self._playback.realtime else None
        height, width = shown.bgr.shape[:2]
        quality = self._playback.quality
        try:
            content = await asyncio.to_thread(encode_jpeg, shown.bgr, quality)
        except ValueError as error:
            return self._refused("not_encodable", str(error))
        origin = stable_path(self._path)
        return Picture(shown.position, content, "jpeg", width, height, quality, captured, origin)

    async def _wait_until_due(self, seconds: float) -> datetime:
        """Return the frame's captured time. Time starts with the first new frame: earlier ones are not waited for."""
        if self._start is None:
            self._start = self._clock.monotonic() - seconds, self._clock.now() - seconds
        monotonic, wall = self._start
        if (wait := monotonic + seconds - self._clock.monotonic()) > 0:
            await self._clock.sleep(wait)
        return utc(wall + seconds)

    def _laps(self, sha256: str, seen: Seen) -> Generator[_Shown | Refusal, None, None]:
        """Blocking. Each lap decodes the file again, so memory does not grow with laps or the length of the file."""
        laps, begin = self._playback.laps, 0.0
        for lap in range(laps) if laps else count(self._first_lap(sha256, seen)):
            last, step, empty = begin, 0.0, True
            for shown in self._lap(sha256, lap, begin, seen):
                if isinstance(shown, _Shown):
                    last, step, empty = shown.seconds, shown.seconds - last, False
                yield shown
            if empty:
                raise UnreadableSource(f"{self._path}: no frame could be decoded; choose another file")
            begin = last + (step or _SINGLE_FRAME_SECONDS)

    def _lap(self, sha256: str, lap: int, begin: float, seen: Seen) -> Generator[_Shown | Refusal, None, None]:
        with open_video(self._path) as video:
            for stamp, frame in thin(video.stamped(), self._playback.fps):
                position = video_position(sha256, stamp.pts, lap)
                try:
                    bgr = None if seen(position) else video.pixels(frame, "bgr24")
                except DECODER_ERRORS:  # a pixel format that cannot be converted
                    video.damaged += 1
                else:
                    yield _Shown(position, begin + stamp.seconds, bgr)
            yield from self._faults(video)

    def _faults(self, video: VideoFile) -> Generator[Refusal, None, None]:
        """What a whole reading did not give."""
        if missing := video.missing():
            yield self._refused(CUT_SHORT, f"{missing}; it is cut short or still being written, copy it again")
        elif video.damaged:
            frames = "1 damaged frame was" if video.damaged == 1 else f"{video.damaged} damaged frames were"
            yield self._refused(DAMAGED_PACKET, f"{frames} left out; all other frames are read")

    def _refused(self, reason: str, why: str) -> Refusal:
        return Refusal(str(self._path), reason, f"{self._path}: {why}")

    def _first_lap(self, sha256: str, seen: Seen) -> int:
        """The last lap that was begun before. It is resumed; earlier laps are not decoded."""
        with open_video(self._path) as video:
            stamp = next((stamp for stamp, _ in video.stamped()), None)
        if stamp is None:
            return 0
        return next(lap for lap in count() if not seen(video_position(sha256, stamp.pts, lap + 1)))


def file_sha256(path: Path) -> str:
    """Raises UnreadableSource."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise UnreadableSource(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise UnreadableSource(f"{path}: cannot be read ({error.strerror}); check its type and permissions") from None


def encode_jpeg(bgr: NDArray[np.uint8], quality: int) -> bytes:
    """`bgr` is uint8 [height, width, 3], `quality` 1 to 100. Raises ValueError for a shape that JPEG cannot hold."""
    try:
        encoded, content = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    except cv2.error:
        encoded = False
    if not encoded:
        raise ValueError(f"a frame of {bgr.shape[1]} × {bgr.shape[0]} pixels cannot be encoded as JPEG")
    return content.tobytes()
