"""Opens what is live for PyAV: RTSP, HLS, MJPEG over HTTP, and cameras of this machine (V4L2)."""

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
    "fflags": "nobuffer",
}
_HLS_OPTIONS = {
    "format_whitelist": "hls,mpegts,mov,mp4,aac",
    "protocol_whitelist": "http,https,tcp,tls,crypto",
    "http_persistent": "0",  # a kept connection would pass the guard by
    "http_multiple": "0",
    "live_start_index": "-1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a live stream is read: RTSP over `transport`, and which frames are not even decoded."""

    transport: Literal["tcp", "udp"] = "tcp"
    keyframes_only: bool = False
    skip_nonreference: bool = False
    timeout_seconds: float = 10.0


def live_protocol(spec: str) -> Protocol | None:
    """What kind of live source `spec` names; None if it names none."""
    if _DEVICE.fullmatch(spec):
        return "v4l2"
    scheme = spec.partition("://")[0].lower() if "://" in spec else ""
    if scheme in ("rtsp", "rtsps"):
        return "rtsp"
    if scheme not in ("http", "https"):
        return None
    return "hls" if urlsplit(spec).path.lower().endswith(".m3u8") else "mjpeg"


@contextlib.contextmanager
def live_stream(spec: str, reading: Reading, guarded: GuardedIo | None) -> Generator[Any, None, None]:
    """Decoded frames of a live source until it ends; `guarded` opens everything that is HTTP.

    Blocking, at most `timeout_seconds` at a time. Raises what PyAV, the guard and the network raise.
    """
    protocol = live_protocol(spec)
    with contextlib.ExitStack() as stack:
        if guarded is not None:
            stack.callback(guarded.close)
        timeouts = (reading.timeout_seconds, reading.timeout_seconds)
        if protocol == "rtsp":
            options = {**_RTSP_OPTIONS, "rtsp_transport": reading.transport}
            container = av.open(spec, options=options, timeout=timeouts)
        elif protocol == "v4l2":
            device = f"/dev/video{spec}" if spec.isdigit() else spec
            container = av.open(device, format="video4linux2,v4l2", timeout=timeouts)
        elif protocol == "hls":
            container = av.open(spec, format="hls", options=_HLS_OPTIONS, timeout=timeouts, io_open=guarded)
        else:
            assert guarded is not None  # noqa: S101 - the caller's; http is never opened otherwise
            container = av.open(guarded(spec), format="mpjpeg", buffer_size=4096)
        stack.enter_context(container)
        yield _frames(container, reading)


def _frames(container: Any, reading: Reading) -> Generator[Any, None, None]:
    if not container.streams.video:
        raise UnreadableSource("the stream holds no pictures")
    stream = container.streams.video[0]
    stream.thread_type = "SLICE"  # threads by frame would add a frame of delay each
    if reading.keyframes_only:
        stream.codec_context.skip_frame = "NONKEY"
    elif reading.skip_nonreference:
        stream.codec_context.skip_frame = "NONREF"
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            continue  # the rest of a broken picture; a lost stream raises from demux
