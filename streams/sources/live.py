"""Cameras: whatever happens to them, they are tried again, and what we are too slow for is dropped and counted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import Any

import av
import numpy as np
import structlog
from numpy.typing import NDArray

from schemas.events import Kind
from schemas.identity import live_position
from streams.clock import Clock
from streams.errors import StreamError
from streams.retry import pauses
from streams.sources.drop_oldest_queue import Mailbox
from streams.sources.guarded_io import GuardedIo, without_credentials
from streams.sources.live_input import Reading, live_protocol, live_stream
from streams.sources.playback import encode_jpeg
from streams.sources.source import Offer, Picture, Seen, Shed
from streams.sources.url_guard import Checked, UrlGuard, redacted, split_url
from streams.sources.uuid7 import uuid7
from streams.sources.video import pixels

log = structlog.get_logger()
_MAILBOX_FRAMES = 4
"""Enough for a hiccup; what is older than that is not live any more."""
_NEARLY = 1e-6
FAULTS = (StreamError, av.error.FFmpegError, OSError)
"""What becomes of cameras and networks; anything else is a fault of ours and comes out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSettings:
    """`fps` thins by time of arrival, because time stamps of MJPEG mean nothing."""

    fps: float | None = None
    limit: int | None = None
    quality: int = 90
    reading: Reading = field(default_factory=Reading)
    first_pause_seconds: float = 0.5
    most_pause_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class LiveState:
    """Told whenever it changes. `message` holds no credentials and is empty while connected."""

    connected: bool
    message: str = ""
    again_in_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Arrived:
    pts: int
    captured_seconds: float
    bgr: NDArray[np.uint8]


class LiveSource:
    """`spec` is an RTSP or HTTP URL (`.m3u8` is HLS, else MJPEG), `/dev/videoN`, or N."""

    kind: Kind = "frame"
    repeatable = False

    def __init__(
        self,
        spec: str,
        settings: LiveSettings,
        clock: Clock,
        *,
        heard: Callable[[LiveState], None] | None = None,
        guard: UrlGuard | None = None,
    ) -> None:
        self._spec = spec
        self._shown = spec if live_protocol(spec) == "v4l2" else redacted(spec)
        self._settings = settings
        self._clock = clock
        self._heard = heard or (lambda _: None)
        self._guard = guard or UrlGuard()

    async def total(self) -> int | None:
        """Raises ForbiddenUrl for a URL that can never be opened."""
        if live_protocol(self._spec) in ("hls", "mjpeg"):
            split_url(without_credentials(self._spec)[0])
        return self._settings.limit

    async def offers(self, seen: Seen) -> AsyncGenerator[Offer, None]:
        """Never ends but by the limit: a connection that is lost or refused is tried again after a growing pause."""
        offered, waits = 0, self._pauses()
        while True:
            session = uuid7(self._clock.now())
            try:
                async with aclosing(self._connected()) as arrivals:
                    async for arrived, dropped in arrivals:
                        waits = self._pauses()
                        if dropped:
                            yield Shed(dropped)
                        yield await self._picture(session, arrived)
                        offered += 1
                        if offered == self._settings.limit:
                            return
                why = "the stream ended"
            except Exception as error:
                why = _safe(error)
            await self._pause(next(waits), why)

    def _pauses(self) -> Any:
        return pauses(self._settings.first_pause_seconds, self._settings.most_pause_seconds)

    async def _pause(self, seconds: float, why: str) -> None:
        log.warning("source disconnected", source=self._shown, why=why, again_in_seconds=round(seconds, 2))
        self._heard(LiveState(connected=False, message=f"{self._shown}: {why}", again_in_seconds=seconds))
        await self._clock.sleep(seconds)

    async def _picture(self, session: str, arrived: _Arrived) -> Picture:
        height, width = arrived.bgr.shape[:2]
        quality = self._settings.quality
        content = await asyncio.to_thread(encode_jpeg, arrived.bgr, quality)
        captured = datetime.fromtimestamp(arrived.captured_seconds, UTC)
        return Picture(live_position(session, arrived.pts), content, "jpeg", width, height, quality, captured)

    async def _connected(self) -> AsyncGenerator[tuple[_Arrived, int], None]:
        """Frames of one connection, each with how many were dropped before it. Its thread ends with it."""
        loop = asyncio.get_running_loop()
        mailbox, stop = Mailbox[_Arrived](loop, _MAILBOX_FRAMES), threading.Event()
        url, guarded = await self._guarded(loop)
        thread = threading.Thread(target=self._read, args=(url, guarded, mailbox, stop), name="source-live")
        thread.start()
        try:
            arrived, dropped = await mailbox.take()
            self._heard(LiveState(connected=arrived is not None))
            while arrived is not None:
                yield arrived, dropped
                arrived, dropped = await mailbox.take()
        finally:
            stop.set()
            await asyncio.to_thread(thread.join)

    async def _guarded(self, loop: asyncio.AbstractEventLoop) -> tuple[str, GuardedIo | None]:
        """For HTTP: what the operator typed is trusted with the addresses it has now; what it leads to is not."""
        if live_protocol(self._spec) not in ("hls", "mjpeg"):
            return self._spec, None
        url, credentials = without_credentials(self._spec)
        _, host, port = split_url(url)
        own = tuple(ip_network(ip_address(text.partition("%")[0])) for text in await self._guard.resolve(host, port))
        guard = replace(self._guard, allow=(*self._guard.allow, *own))
        timeout_seconds = self._settings.reading.timeout_seconds

        def check(found: str) -> Checked:
            return asyncio.run_coroutine_threadsafe(guard.check(found), loop).result(timeout_seconds)

        return url, GuardedIo(check, timeout_seconds, url, credentials)

    def _read(self, url: str, guarded: GuardedIo | None, mailbox: Mailbox[_Arrived], stop: threading.Event) -> None:
        """The connection's thread."""
        try:
            with live_stream(url, self._settings.reading, guarded) as frames:
                self._forward(frames, mailbox, stop)
        except BaseException as error:
            mailbox.close(error)
        else:
            mailbox.close()

    def _forward(self, frames: Any, mailbox: Mailbox[_Arrived], stop: threading.Event) -> None:
        start, tick, pts = self._clock.monotonic(), -1, -1
        for frame in frames:
            if stop.is_set():
                return
            pts = frame.pts if frame.pts is not None and frame.pts > pts else pts + 1
            fps = self._settings.fps
            now = tick + 1 if fps is None else int((self._clock.monotonic() - start) * fps + _NEARLY)
            if now > tick:
                tick = now
                mailbox.put(_Arrived(pts, self._clock.now(), pixels(frame, "bgr24")))


def _safe(error: BaseException) -> str:
    """An error without what FFmpeg quotes: the URL with its password."""
    if isinstance(error, StreamError):
        return str(error)
    return str(getattr(error, "strerror", None) or type(error).__name__)
