"""Opens live streams: RTSP, HLS and local cameras (V4L2) with PyAV, MJPEG over HTTP picture by picture."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal
from urllib.parse import urlsplit

import av
import numpy as np
from numpy.typing import NDArray

from streams.sources.frame_pixels import pixels
from streams.sources.guarded_io import GuardedIo
from streams.sources.http_camera import open_camera
from streams.sources.jpeg_damage import whole_jpeg
from streams.sources.mjpeg import JpegStream
from streams.sources.source import UnreadableSource
from streams.sources.video import film_stream
from streams.sources.whole_frames import WholeFrames

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


@dataclass(frozen=True, slots=True)
class LiveFrame:
    """A frame that has arrived. `bgr` decodes it to uint8 [height, width, 3]; None: it came damaged."""

    pts: int | None
    bgr: Callable[[], NDArray[np.uint8] | None]


@dataclass(frozen=True, slots=True)
class Damaged:
    """Frames that were left out because they came damaged or build on such a frame."""

    count: int


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
def live_stream(
    spec: str, options: StreamOptions, guarded: GuardedIo | None
) -> Generator[Generator[LiveFrame | Damaged, None, None], None, None]:
    """What a live source sends until it ends; `guarded` opens every HTTP URL.

    Blocking, each wait at most `timeout_seconds`. Raises the errors of PyAV, the guard and the network.
    """
    with contextlib.ExitStack() as stack:
        if guarded is not None:
            stack.callback(guarded.close)
            if live_protocol(spec) == "mjpeg" and (camera := open_camera(spec, guarded)) is not None:
                yield _pictures(camera)
                return
        container = stack.enter_context(_opened(spec, options, guarded))
        yield _frames(container, keyframes_only=options.keyframes_only)


def _opened(spec: str, options: StreamOptions, guarded: GuardedIo | None) -> Any:
    timeouts = (options.timeout_seconds, options.timeout_seconds)
    if guarded is not None:
        return av.open(spec, format="hls", options=_HLS_OPTIONS, timeout=timeouts, io_open=guarded)
    if live_protocol(spec) == "rtsp":
        return av.open(spec, options=_RTSP_OPTIONS, timeout=timeouts)
    device = f"/dev/video{spec}" if spec.isdigit() else spec
    return av.open(device, format="video4linux2,v4l2", timeout=timeouts)


def _pictures(camera: JpegStream) -> Generator[LiveFrame | Damaged, None, None]:
    for content in camera.pictures():
        yield LiveFrame(None, partial(whole_jpeg, content))


def _frames(container: Any, *, keyframes_only: bool) -> Generator[LiveFrame | Damaged, None, None]:
    stream = film_stream(container)
    if stream is None:
        raise UnreadableSource("the stream contains no video")
    stream.thread_type = "SLICE"  # frame threads would each add the delay of a frame
    if keyframes_only:
        stream.codec_context.skip_frame = "NONKEY"
    whole, counted = WholeFrames(stream, joined=True), 0
    for packet in container.demux(stream):  # a lost stream raises here
        for frame in whole.decode(packet):
            yield LiveFrame(frame.pts, partial(pixels, frame, "bgr24", stream.sample_aspect_ratio))
        if whole.damaged > counted:
            yield Damaged(whole.damaged - counted)
            counted = whole.damaged
        if whole.hopeless:
            raise UnreadableSource("nothing can be decoded any more; the stream has become another one")
