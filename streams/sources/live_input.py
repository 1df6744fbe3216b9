"""Opens live streams with PyAV: RTSP, HLS, MJPEG over HTTP, and local cameras (V4L2)."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import av

from streams.sources.guarded_io import GuardedIo
from streams.sources.source import UnreadableSource

Protocol = Literal["rtsp", "hls", "mjpeg", "v4l2"]
_DEVICE = re.compile(r"\d{1,2}|/dev/video\d{1,3}")
_RTSP_OPTIONS = {
    "format_whitelist": "rtsp,sdp",
    "protocol_whitelist": "rtsp,rtsps,rtp,srtp,tcp,udp,tls,crypto",
    "rtsp_transport": "tcp",
    "fflags": "nobuffer",
}
_HLS_OPTIONS = {
    "format_whitelist": "hls,mpegts,mov,mp4,aac",
    "protocol_whitelist": "http,https,tcp,tls,crypto",
    "http_persistent": "0",  # a reused connection would bypass the guard
    "http_multiple": "0",
    "live_start_index": "-1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    """How a live stream is read. With `keyframes_only` no other frame is decoded."""

    keyframes_only: bool = False
    timeout_seconds: float = 10.0


def live_protocol(spec: str) -> Protocol | None:
    """The protocol of the live source that `spec` names; None if it names none."""
    if _DEVICE.fullmatch(spec):
        return "v4l2"
    scheme = spec.partition("://")[0].lower() if "://" in spec else ""
    if scheme in ("rtsp", "rtsps"):
        return "rtsp"
    if scheme not in ("http", "https"):
        return None
    return "hls" if urlsplit(spec).path.lower().endswith(".m3u8") else "mjpeg"


@contextlib.contextmanager
def live_stream(spec: str, options: StreamOptions, guarded: GuardedIo | None) -> Generator[Any, None, None]:
    """Decoded frames of a live source until it ends; `guarded` opens every HTTP URL.

    Blocking, each wait at most `timeout_seconds`. Raises the errors of PyAV, the guard and the network.
    """
    protocol = live_protocol(spec)
    with contextlib.ExitStack() as stack:
        if guarded is not None:
            stack.callback(guarded.close)
        timeouts = (options.timeout_seconds, options.timeout_seconds)
        if protocol == "rtsp":
            container = av.open(spec, options=_RTSP_OPTIONS, timeout=timeouts)
        elif protocol == "v4l2":
            device = f"/dev/video{spec}" if spec.isdigit() else spec
            container = av.open(device, format="video4linux2,v4l2", timeout=timeouts)
        elif protocol == "hls":
            container = av.open(spec, format="hls", options=_HLS_OPTIONS, timeout=timeouts, io_open=guarded)
        else:
            assert guarded is not None  # noqa: S101 - of the caller: HTTP is always guarded
            container = av.open(guarded(spec), format="mpjpeg", buffer_size=4096)
        stack.enter_context(container)
        yield _frames(container, keyframes_only=options.keyframes_only)


def _frames(container: Any, *, keyframes_only: bool) -> Generator[Any, None, None]:
    if not container.streams.video:
        raise UnreadableSource("the stream contains no video")
    stream = container.streams.video[0]
    stream.thread_type = "SLICE"  # frame threads would each add the delay of a frame
    if keyframes_only:
        stream.codec_context.skip_frame = "NONKEY"
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            continue  # the rest of a damaged picture; a lost stream raises from demux
