"""Reads video files with PyAV: whole frames, thinned by time stamp, never by frame number."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

from streams.sources import transport_stream
from streams.sources.frame_pixels import Order, pixels
from streams.sources.source import UnreadableSource
from streams.sources.timeline import Stamp, Timeline
from streams.sources.video_length import Reading, expected_frames, missing_part
from streams.sources.whole_frames import DECODER_ERRORS, WholeFrames, flush_packet

FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf,h264,hevc,mpegvideo,ivf,gif"
"""Demuxers that read one file. Lists (concat, hls) are excluded: a text file named `.mp4` would open other files."""
_OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
_PART_OPTIONS = {"format_whitelist": "mpegts", "protocol_whitelist": "file,subfile"}
_RECORDINGS = frozenset({"mpegts", "mpeg", "h264", "hevc", "mpegvideo"})
"""Formats that are cut anywhere: they may begin between two keyframes."""
_DEMUX_ATTEMPTS = 10
"""Errors of the demuxer in a row after which nothing more will come."""
_ROUNDING = 1e-6
"""Time stamps are fractions: a frame that misses its tick by a rounding error counts as on it."""


@dataclass(slots=True)
class VideoFile:
    """An open file and its film; `later` are parts of a transport stream that FFmpeg must open for themselves."""

    path: Path
    container: Any
    stream: Any
    later: Sequence[str] = ()
    damaged: int = field(default=0, init=False)
    """Packets and frames that were left out so far."""
    _came: Reading = field(default_factory=Reading, init=False)

    def missing(self) -> str:
        """After the last frame: what the file names and did not contain; empty if nothing is missing."""
        return missing_part(self.path, self.container, self.stream, self._came)

    def expected(self, fps: float | None) -> int | None:
        """The approximate number of frames after thinning, None if unknown."""
        return expected_frames(self.container, self.stream, fps)

    def stamped(self) -> Generator[tuple[Stamp, Any], None, None]:
        """PyAV's whole frames, in order of display."""
        timeline = Timeline(self.stream.time_base, self.stream.average_rate)
        yield from self._part(self.container, self.stream, timeline)
        for url in self.later:
            try:
                container = av.open(url, options=_PART_OPTIONS, metadata_errors="replace")
            except DECODER_ERRORS:
                self.damaged += 1
                continue
            with container:
                if (stream := film_stream(container)) is not None:
                    self.stream = stream
                    yield from self._part(container, stream, timeline)

    def _part(self, container: Any, stream: Any, timeline: Timeline) -> Generator[tuple[Stamp, Any], None, None]:
        stream.thread_type = "AUTO"
        whole, before = WholeFrames(stream, joined=container.format.name in _RECORDINGS), self.damaged
        for packet in self._demuxed(container, stream, whole):
            for frame in whole.decode(packet):
                stamp = timeline.stamp(frame.pts)
                self._came.frames, self._came.seconds = self._came.frames + 1, timeline.span_seconds
                yield stamp, frame
            self.damaged = before + whole.damaged

    def _demuxed(self, container: Any, stream: Any, whole: WholeFrames) -> Generator[Any, None, None]:
        """The stream's packets; the last one, without content, empties the decoder."""
        for _ in range(_DEMUX_ATTEMPTS):
            try:
                for packet in container.demux(stream):
                    self._came.packets += packet.size > 0
                    yield packet
            except DECODER_ERRORS:
                whole.lost()
            else:
                return
        yield flush_packet(stream)

    def pixels(self, frame: Any, order: Order = "rgb24") -> NDArray[np.uint8]:
        """uint8 [height, width, 3]: upright, with square pixels, in the colors of an ordinary picture."""
        return pixels(frame, order, self.stream.sample_aspect_ratio)


@contextlib.contextmanager
def open_video(path: Path) -> Generator[VideoFile, None, None]:
    """Open a video file. Raises UnreadableSource with the path and what to do."""
    try:
        container, later = _open(path)
    except FileNotFoundError:
        raise UnreadableSource(f"{path}: no such file; check the path") from None
    except PermissionError:
        raise UnreadableSource(f"{path}: not readable by this user; change its permissions") from None
    except (OSError, *DECODER_ERRORS) as error:
        advice = "convert it, for example: ffmpeg -i IN -c:v libx264 OUT.mp4"
        raise UnreadableSource(f"{path}: not a video that can be read ({_reason(error)}); {advice}") from error
    with container:
        stream = film_stream(container)
        if stream is None:
            raise UnreadableSource(f"{path}: contains no video stream; choose another file")
        yield VideoFile(path, container, stream, later)


def _open(path: Path) -> tuple[Any, list[str]]:
    """The file, or its first part and the URLs of the others."""
    url = f"file:{path.absolute()}"
    container = av.open(url, options=_OPTIONS, metadata_errors="replace")
    if container.format.name != "mpegts" or len(parts := transport_stream.parts(path)) == 1:
        return container, []
    container.close()
    first, *later = (f"subfile,,start,{start},end,{end},,:{url}" for start, end in parts)
    return av.open(first, options=_PART_OPTIONS, metadata_errors="replace"), later


def demuxed_packets(path: Path) -> Generator[Any, None, None]:
    """The film's packets as the file holds them, undecoded. Raises DECODER_ERRORS."""
    with av.open(f"file:{path.absolute()}", options=_OPTIONS, metadata_errors="replace") as container:
        if (stream := film_stream(container)) is not None:
            yield from (packet for packet in container.demux(stream) if packet.size > 0)


def film_stream(container: Any) -> Any | None:
    """The first video stream that is a film; a cover or thumbnail that was attached to it is none."""
    attached = Disposition.attached_pic | Disposition.timed_thumbnails
    return next((stream for stream in container.streams.video if not stream.disposition & attached), None)


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


def decode_frames(path: Path, *, fps: float | None = None) -> Generator[NDArray[np.uint8], None, None]:
    """Upright RGB frames [height, width, 3] of a video file. Raises UnreadableSource."""
    with open_video(path) as video:
        for _, frame in thin(video.stamped(), fps):
            yield video.pixels(frame)
