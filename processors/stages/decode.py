"""From bytes to upright RGB pixels, once for all stages. What is no picture, or is too large, is refused here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 28))
# OpenCV reads the variable when it is imported: a 109 KB PNG otherwise takes 5 GiB. Our own limit, `max_pixels`, is
# checked on the header before. This second limit applies where a decoder reads another size than the header states.

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from processors.cores import cores
from processors.frame import Frame, Invalid, Verdicts
from processors.headers import Header, Unreadable, read_header
from processors.jpeg import decode_jpeg
from processors.shrink import shrink, within

_REDUCED = {
    1: 0,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
"""OpenCV's flag for each reduction; combined with `IMREAD_COLOR_RGB` the result is in color all the same."""


SMALL_BYTES = 64 << 10
"""A JPEG of a thumbnail's size and at most this many bytes is its own thumbnail: encoding it again would cost more."""


class DecodeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[stages.decode]`."""

    max_bytes: int = 64 << 20
    """Maximum size of an original; a larger one is dead."""
    max_pixels: int = 100_000_000
    """Maximum pixels of a picture; a larger one is dead. 100 megapixels are 300 MB of RGB, and a batch holds many."""
    max_side: int = 0
    """Longest side in pixels that any stage of the whole plan needs, computed from its models. A picture at least twice
    as large is decoded at a half, a quarter or an eighth. 0: always at full size."""
    thumbnail_side: int = 320
    """The thumbnail's longer side in pixels; 0: no thumbnail."""
    thumbnail_quality: int = 80
    """JPEG quality of the thumbnail."""
    threads: int = 0
    """Pictures decoded in parallel; 0: as many as there are cores."""


class Decode:
    """Decodes JPEG, PNG and WebP; fills `pixels`, the thumbnail, and the size and format of `image`."""

    Settings = DecodeSettings

    name, lane = "decode", "cpu"
    requires, provides = frozenset({"original"}), frozenset({"pixels", "thumbnail_jpeg"})

    def __init__(self, settings: DecodeSettings) -> None:
        self._settings = settings
        self._threads = settings.threads or cores()
        self._pool: ThreadPoolExecutor | None = None

    def open(self, device: str) -> None:
        """Start the pool; the decoders release the interpreter lock, so its threads use all cores."""
        if self._threads > 1:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="decode")

    def process(self, frames: Sequence[Frame]) -> Verdicts:
        """Safe to call from several threads at once."""
        if self._pool is None or len(frames) < 2:
            return [self._decode(frame) for frame in frames]
        return list(self._pool.map(self._decode, frames))

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _decode(self, frame: Frame) -> Invalid | None:
        try:
            header = self._checked_header(frame.original or b"")
            pixels, scale = self._pixels(frame.original or b"", header)
            width, height = upright_size(header, pixels, scale)
        except Unreadable as error:
            return Invalid(error.reason, str(error))
        known = frame.image
        if (known.width, known.height, known.format) != (width, height, header.format):
            frame.image = msgspec.structs.replace(known, width=width, height=height, format=header.format)
        frame.pixels = pixels
        frame.thumbnail_jpeg = self._thumbnail(frame.original or b"", header, pixels)
        return None

    def _checked_header(self, picture: bytes) -> Header:
        """The header of a picture that is worth decoding. Raises `Unreadable`."""
        if not picture:
            raise Unreadable("empty", "the picture has no bytes")
        if len(picture) > self._settings.max_bytes:
            raise Unreadable("too_many_bytes", f"{len(picture)} bytes; at most {self._settings.max_bytes} are taken")
        header = read_header(picture)
        if header.pixels > self._settings.max_pixels:
            raise Unreadable("too_many_pixels", f"{header.width} × {header.height}; see `max_pixels`")
        return header

    def _pixels(self, picture: bytes, header: Header) -> tuple[NDArray[np.uint8], int]:
        """The upright RGB pixels and the reduction they were decoded at."""
        scale = reduction(header, self._settings.max_side)
        if header.format == "jpeg":
            at_least = stored_size(header, scale) if scale > 1 else None
            if (upright := decode_jpeg(picture, header.orientation, at_least)) is not None:
                return upright, scale
        # PNG and WebP are reduced by dropping samples inside OpenCV; the area average below keeps fine detail.
        flag = _REDUCED[scale] if header.format == "jpeg" else 0
        try:
            decoded = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR_RGB | flag)
        except cv2.error as error:
            raise Unreadable("unreadable_image", f"damaged {header.format}: {error.err}") from error
        if decoded is None:
            raise Unreadable("unreadable_image", f"damaged or cut short {header.format}")
        pixels: NDArray[np.uint8] = decoded.astype(np.uint8, copy=False)
        if scale > 1 and not flag:
            rows, columns = pixels.shape[:2]
            pixels = shrink(pixels, -(-columns // scale), -(-rows // scale))
        return pixels, scale

    def _thumbnail(self, picture: bytes, header: Header, pixels: NDArray[np.uint8]) -> bytes | None:
        side = self._settings.thumbnail_side
        if not side:
            return None
        if header.format == "jpeg" and max(header.width, header.height) <= side and len(picture) <= SMALL_BYTES:
            return picture  # small as it is; what shows it applies EXIF
        small = shrink(pixels, *within(pixels.shape[1], pixels.shape[0], side))
        quality = [cv2.IMWRITE_JPEG_QUALITY, self._settings.thumbnail_quality]
        return cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), quality)[1].tobytes()


def reduction(header: Header, max_side: int) -> int:
    """1, 2, 4 or 8: the strongest reduction that leaves the longer side at least `max_side` pixels (0: none)."""
    longer, difference = max(header.width, header.height), abs(header.width - header.height)
    if not max_side or 0 < difference < 8:  # nearly square: the reduced sizes would not show whether EXIF turned it
        return 1
    return max(scale for scale in _REDUCED if scale == 1 or longer >= scale * max_side)


def stored_size(header: Header, scale: int) -> tuple[int, int]:
    """Width and height in pixels, as stored, after a reduction by `scale`: rounded up."""
    return -(-header.width // scale), -(-header.height // scale)


def upright_size(header: Header, pixels: NDArray[np.uint8], scale: int) -> tuple[int, int]:
    """Width and height of the upright original. Raises `Unreadable` when the decoder read another size."""
    decoded = (pixels.shape[1], pixels.shape[0])
    stored = stored_size(header, scale)
    if decoded == stored:
        return header.width, header.height
    if decoded == stored[::-1]:  # EXIF turned it by 90°
        return header.height, header.width
    raise Unreadable("unreadable_image", f"the header states {header.width} × {header.height}, the pixels differ")
