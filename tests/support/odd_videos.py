"""Videos that players show otherwise than their samples lie: colors, pixel shapes, display matrices, covers."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

FPS = 10
QUADRANTS = ((220, 30, 30), (30, 200, 30), (30, 30, 220), (240, 240, 40))
"""Top left, top right, bottom left, bottom right, in sRGB."""


def quadrants(width: int = 160, height: int = 96) -> NDArray[np.uint8]:
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2], picture[: height // 2, width // 2 :] = QUADRANTS[:2]
    picture[height // 2 :, : width // 2], picture[height // 2 :, width // 2 :] = QUADRANTS[2:]
    return picture


def centers(rgb: NDArray[np.uint8]) -> list[tuple[int, ...]]:
    """The colors in the middle of each quadrant, in the order of `QUADRANTS`."""
    height, width = rgb.shape[:2]
    rows, columns = (height // 4, 3 * height // 4), (width // 4, 3 * width // 4)
    return [tuple(int(value) for value in rgb[row, column]) for row in rows for column in columns]


def distance(shown: Iterable[tuple[int, ...]], meant: Iterable[tuple[int, ...]] = QUADRANTS) -> int:
    """The largest difference of a channel."""
    return max(abs(a - b) for one, other in zip(shown, meant, strict=True) for a, b in zip(one, other, strict=True))


def write_frames(
    path: Path,
    frames: Iterable[av.VideoFrame],
    codec: str = "libx264",
    declare: Callable[[Any], None] = lambda stream: None,
) -> Path:
    """Encode `frames` in their own pixel format; `declare` sets what the stream states."""
    listed = list(frames)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=FPS)
        stream.width, stream.height, stream.pix_fmt = listed[0].width, listed[0].height, listed[0].format.name
        declare(stream)
        for number, frame in enumerate(listed):
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return path


def tagged(primaries: int, transfer: int, matrix: int, full: bool = False) -> Callable[[Any], None]:  # noqa: FBT001, FBT002 - of a test
    """Declares ITU-T H.273's numbers."""

    def declare(stream: Any) -> None:
        stream.color_primaries, stream.color_trc, stream.colorspace = primaries, transfer, matrix
        stream.color_range = 2 if full else 1

    return declare


def ycbcr(rgb: NDArray[np.floating[Any]], red: float, blue: float) -> av.VideoFrame:
    """A limited-range yuv420p10le frame of R'G'B' from 0 to 1, by the weights of red and blue in its matrix."""
    luma = rgb @ np.array([red, 1 - red - blue, blue])
    planes = [
        (64 + 876 * luma),
        (512 + 896 * (rgb[..., 2] - luma) / (2 * (1 - blue)))[::2, ::2],
        (512 + 896 * (rgb[..., 0] - luma) / (2 * (1 - red)))[::2, ::2],
    ]
    height, width = rgb.shape[:2]
    stacked = np.concatenate([plane.round().astype(np.uint16).ravel() for plane in planes])
    return av.VideoFrame.from_ndarray(stacked.reshape(height * 3 // 2, width), format="yuv420p10le")


def linear(srgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    code = srgb / 255
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


TO_BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
"""From linear BT.709 (ITU-R BT.2087)."""


def pq(nits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """SMPTE ST 2084's code from 0 to 1."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    power = np.asarray((nits / 10_000) ** m1)
    return np.asarray(((c1 + c2 * power) / (1 + c3 * power)) ** m2)


def hlg(nits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """BT.2100's code from 0 to 1 for a screen of 1,000 nits: the scene's light before its gamma of 1.2."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    screen = nits / 1000
    luma = (screen @ np.array([0.2627, 0.6780, 0.0593]))[..., None]
    scene = screen * np.where(luma > 0, np.maximum(luma, 1e-9) ** (1 / 1.2 - 1), 0)
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), a * np.log(np.maximum(12 * scene - b, 1e-9)) + c)


def add_cover(path: Path, target: Path) -> Path:
    """A copy of an MP4 with a black cover, which stands before the tracks as some programs write it."""
    with av.open(str(path)) as source, av.open(str(target), "w") as container:
        film = source.streams[0]
        copy = container.add_stream_from_template(film)
        cover: Any = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        black = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        for packet in (*cover.encode(black), *cover.encode(None)):
            container.mux(packet)
        for packet in source.demux(film):
            if packet.dts is not None:
                packet.stream = copy
                container.mux(packet)
    target.write_bytes(_with_first_in_moov(target.read_bytes(), b"udta"))
    return target


def _with_first_in_moov(mp4: bytes, kind: bytes) -> bytes:
    """The same file with the movie's boxes of this kind before its tracks."""
    moved = b""
    for name, box in _boxes(mp4):
        if name != b"moov":
            moved += box
            continue
        inner = list(_boxes(box[8:]))
        order = (b"mvhd", kind)
        first = [content for wanted in order for each, content in inner if each == wanted]
        moved += box[:8] + b"".join([*first, *(content for each, content in inner if each not in order)])
    return moved


def _boxes(content: bytes) -> Iterable[tuple[bytes, bytes]]:
    position = 0
    while position < len(content):
        (size,) = struct.unpack_from(">I", content, position)
        yield content[position + 4 : position + 8], content[position : position + size]
        position += size
