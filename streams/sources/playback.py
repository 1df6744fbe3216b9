"""A video file as a source: laps, pacing and encoding around `streams.sources.video`."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from schemas.events import Kind
from schemas.identity import video_position
from streams.clock import Clock
from streams.sources.source import Offer, Picture, Refusal, Repeated, Seen, UnreadableSource
from streams.sources.thread_iterator import in_thread
from streams.sources.video import opened, pixels, thinned

_CHUNK_FRAMES = 4
"""Decoded ahead: a 4K frame is 25 MB, so few; enough that decoding and encoding overlap."""
_LONE_FRAME_SECONDS = 1.0
"""How long a lap of a single frame lasts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Playback:
    """How a video is played.

    `laps` None plays for ever, starting behind the last lap that was accepted before. `realtime` waits until each
    frame is due and sets its captured time; without it frames come as fast as they are taken.
    """

    fps: float | None = None
    realtime: bool = False
    laps: int | None = 1
    limit: int | None = None
    quality: int = 90

    def __post_init__(self) -> None:
        if self.fps is not None and not 0 < self.fps <= 1_000:
            raise ValueError(f"fps is {self.fps:g}: give a number above 0, at most 1000")
        if not 1 <= self.quality <= 100:
            raise ValueError(f"quality is {self.quality}: give a number from 1 to 100")
        if (self.laps is not None and self.laps < 1) or (self.limit is not None and self.limit < 1):
            raise ValueError("laps and limit are counted from 1")


@dataclass(frozen=True, slots=True)
class _Shown:
    """A frame of some lap; `bgr` is None if it was accepted before. `seconds` go on through the laps."""

    position: str
    seconds: float
    bgr: NDArray[np.uint8] | None


class VideoSource:
    kind: Kind = "frame"
    repeatable = True

    def __init__(self, path: Path, playback: Playback, clock: Clock) -> None:
        self._path = path
        self._playback = playback
        self._clock = clock
        self._start: tuple[float, float] | None = None

    async def total(self) -> int | None:
        """Raises UnreadableSource."""
        expected = await asyncio.to_thread(self._expected)
        laps, limit = self._playback.laps, self._playback.limit
        known = [n for n in (expected * laps if expected and laps else None, limit) if n is not None]
        return min(known, default=None)

    def _expected(self) -> int | None:
        with opened(self._path) as video:
            return video.expected(self._playback.fps)

    async def offers(self, seen: Seen) -> AsyncGenerator[Offer, None]:
        sha256 = await asyncio.to_thread(file_sha256, self._path)
        chunk = 1 if self._playback.realtime else _CHUNK_FRAMES
        offered = 0
        async with aclosing(in_thread(self._laps(sha256, seen), chunk)) as chunks:
            async for shown in chunks:
                for offer in await asyncio.gather(*(self._offer(one) for one in shown)):
                    yield offer
                    offered += not isinstance(offer, Refusal)
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
        content = await asyncio.to_thread(encode_jpeg, shown.bgr, quality)
        return Picture(shown.position, content, "jpeg", width, height, quality, captured)

    async def _wait_until_due(self, seconds: float) -> datetime:
        """Played from the first frame that is new: what was accepted before is not waited for."""
        if self._start is None:
            self._start = self._clock.monotonic() - seconds, self._clock.now() - seconds
        monotonic, wall = self._start
        if (wait := monotonic + seconds - self._clock.monotonic()) > 0:
            await self._clock.sleep(wait)
        return datetime.fromtimestamp(wall + seconds, UTC)

    def _laps(self, sha256: str, seen: Seen) -> Generator[_Shown | Refusal, None, None]:
        """Blocking; every lap decodes anew, so a clip of any length plays for ever in little memory."""
        laps, begin = self._playback.laps, 0.0
        for lap in range(laps) if laps else count(self._first_lap(sha256, seen)):
            last, step, empty = begin, 0.0, True
            for shown in self._lap(sha256, lap, begin, seen):
                if isinstance(shown, _Shown):
                    last, step, empty = shown.seconds, shown.seconds - last, False
                yield shown
            if empty:
                raise UnreadableSource(f"{self._path}: no frame could be decoded; give another file")
            begin = last + (step or _LONE_FRAME_SECONDS)

    def _lap(self, sha256: str, lap: int, begin: float, seen: Seen) -> Generator[_Shown | Refusal, None, None]:
        with opened(self._path) as video:
            for stamp, frame in thinned(video.stamped(), self._playback.fps):
                position = video_position(sha256, stamp.pts, lap)
                bgr = None if seen(position) else pixels(frame, "bgr24")
                yield _Shown(position, begin + stamp.seconds, bgr)
            if video.damaged:
                message = f"{self._path}: {video.damaged} packets could not be decoded; the rest is taken"
                yield Refusal(str(self._path), "damaged_packet", message)

    def _first_lap(self, sha256: str, seen: Seen) -> int:
        """The last lap that was begun before: it is resumed, the ones before it are not even decoded."""
        with opened(self._path) as video:
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
    except OSError as refused:
        raise UnreadableSource(f"{path}: cannot be read ({refused.strerror}); check its type and permissions") from None


def encode_jpeg(bgr: NDArray[np.uint8], quality: int) -> bytes:
    done, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"a frame of shape {bgr.shape} cannot be written as JPEG")
    return encoded.tobytes()
