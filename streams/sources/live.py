"""Cameras: every disconnection is retried, and frames that Sightline is too slow for are dropped and counted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

import numpy as np
import structlog
from numpy.typing import NDArray

from schemas.events import Kind
from schemas.identity import live_position
from streams.clock import Clock, utc
from streams.errors import StreamError
from streams.retry import Backoff
from streams.sources.drop_oldest_queue import DropOldestQueue
from streams.sources.guarded_io import GuardedIo, without_credentials
from streams.sources.http_camera import NotAStream
from streams.sources.live_input import Damaged, LiveFrame, StreamOptions, live_protocol, live_stream
from streams.sources.playback import encode_jpeg
from streams.sources.source import DAMAGED, Offer, Picture, Seen, Shed
from streams.sources.url_guard import CheckedUrl, UrlGuard, redacted, split_url, system_resolve
from streams.sources.uuid7 import uuid7

log = structlog.get_logger()
_QUEUE_FRAMES = 4
"""Enough for a short delay; older frames are no longer live."""
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSettings:
    """`fps` limits by time of arrival, because time stamps of MJPEG mean nothing."""

    fps: float | None = None
    limit: int | None = None
    quality: int = 90
    stream: StreamOptions = field(default_factory=StreamOptions)
    first_pause_seconds: float = 0.5
    max_pause_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class LiveState:
    """Whether the camera is connected. `message` contains no credentials and is empty while connected."""

    connected: bool
    message: str = ""
    retry_in_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Arrived:
    pts: int
    captured_seconds: float
    bgr: NDArray[np.uint8]


class LiveSource:
    """`spec` is an RTSP or HTTP URL (`.m3u8` is HLS, else MJPEG), `/dev/videoN`, or N. `on_state` gets every change."""

    kind: Kind = "frame"
    repeatable = False

    def __init__(
        self,
        spec: str,
        settings: LiveSettings,
        clock: Clock,
        *,
        on_state: Callable[[LiveState], None] | None = None,
    ) -> None:
        self._spec = spec
        self._shown = spec if live_protocol(spec) == "v4l2" else redacted(spec)
        self._settings = settings
        self._clock = clock
        self._on_state = on_state or (lambda _: None)

    async def total(self) -> int | None:
        """Raises ForbiddenUrl for a URL that can never be opened."""
        if (protocol := live_protocol(self._spec)) != "v4l2":
            url, _ = without_credentials(self._spec)
            if protocol != "rtsp":
                split_url(url)
        return self._settings.limit

    async def offers(self, seen: Seen) -> AsyncGenerator[Offer, None]:
        """Ends at the limit only: a connection that is lost or refused is retried after a growing pause.

        Raises NotAStream if the first answer is something else than a camera's.
        """
        offered, backoff = 0, self._backoff()
        while True:
            session = uuid7(self._clock.now())
            try:
                async with aclosing(self._connected()) as arrivals:
                    async for arrived in arrivals:
                        if isinstance(arrived, Shed):
                            yield arrived
                            continue
                        backoff.reset()
                        yield await self._picture(session, arrived)
                        offered += 1
                        if offered == self._settings.limit:
                            return
                why = "the stream ended"
            except NotAStream as error:
                if not offered:
                    raise
                why = str(error)
            except Exception as error:
                why = _without_url(error)
            await self._pause(backoff.next_seconds(), why)

    def _backoff(self) -> Backoff:
        first, longest = self._settings.first_pause_seconds, self._settings.max_pause_seconds
        return Backoff(self._clock, first_seconds=first, most_seconds=longest)

    async def _pause(self, seconds: float, why: str) -> None:
        log.warning("source disconnected", source=self._shown, why=why, retry_in_seconds=round(seconds, 2))
        self._on_state(LiveState(connected=False, message=f"{self._shown}: {why}", retry_in_seconds=seconds))
        await self._clock.sleep(seconds)

    async def _picture(self, session: str, arrived: _Arrived) -> Picture:
        height, width = arrived.bgr.shape[:2]
        quality = self._settings.quality
        content = await asyncio.to_thread(encode_jpeg, arrived.bgr, quality)
        captured = utc(arrived.captured_seconds)
        position = live_position(session, arrived.pts)
        return Picture(position, content, "jpeg", width, height, quality, captured, self._shown)

    async def _connected(self) -> AsyncGenerator[_Arrived | Shed, None]:
        """Frames of one connection, and what was dropped before them. The connection's thread ends with it."""
        loop = asyncio.get_running_loop()
        queue, stop = DropOldestQueue[_Arrived](loop, _QUEUE_FRAMES), threading.Event()
        url, guarded = await self._guarded(loop)
        thread = threading.Thread(target=self._read, args=(url, guarded, queue, stop), name="source-live")
        thread.start()
        try:
            taken = await queue.take()
            self._on_state(LiveState(connected=bool(taken)))
            while taken:
                for arrived in taken:
                    yield arrived
                taken = await queue.take()
        finally:
            stop.set()
            if guarded is not None:
                guarded.interrupt()
            await asyncio.to_thread(thread.join)

    async def _guarded(self, loop: asyncio.AbstractEventLoop) -> tuple[str, GuardedIo | None]:
        """For HTTP: the present addresses of the operator's URL are trusted; those that it leads to are checked."""
        if live_protocol(self._spec) not in ("hls", "mjpeg"):
            return self._spec, None
        url, credentials = without_credentials(self._spec)
        _, host, port = split_url(url)
        addresses = await system_resolve(host, port)
        guard = UrlGuard(allow=tuple(ip_network(ip_address(text.partition("%")[0])) for text in addresses))
        timeout_seconds = self._settings.stream.timeout_seconds

        def check(url: str) -> CheckedUrl:
            return asyncio.run_coroutine_threadsafe(guard.check(url), loop).result(timeout_seconds)

        return url, GuardedIo(check, timeout_seconds, url, credentials)

    def _read(
        self, url: str, guarded: GuardedIo | None, queue: DropOldestQueue[_Arrived], stop: threading.Event
    ) -> None:
        """The connection's thread."""
        try:
            with live_stream(url, self._settings.stream, guarded) as frames:
                self._forward(frames, queue, stop)
        except BaseException as error:
            queue.close(error)
        else:
            queue.close()

    def _forward(
        self, frames: Iterable[LiveFrame | Damaged], queue: DropOldestQueue[_Arrived], stop: threading.Event
    ) -> None:
        """A damaged frame is no frame: the next one takes its place in the rate."""
        start, tick, pts, fps = self._clock.monotonic(), -1, -1, self._settings.fps
        for frame in frames:
            if stop.is_set():
                return
            if isinstance(frame, Damaged):
                queue.lose(DAMAGED, frame.count)
                continue
            pts = frame.pts if frame.pts is not None and frame.pts > pts else pts + 1
            now = tick + 1 if fps is None else int((self._clock.monotonic() - start) * fps + _ROUNDING)
            if now <= tick:
                continue
            if (bgr := frame.bgr()) is None:
                queue.lose(DAMAGED)
                continue
            tick = now
            queue.put(_Arrived(pts, self._clock.now(), bgr))


def _without_url(error: BaseException) -> str:
    """An error's message without the URL and its password, which FFmpeg quotes."""
    if isinstance(error, StreamError):
        return str(error)
    return str(getattr(error, "strerror", None) or type(error).__name__)
