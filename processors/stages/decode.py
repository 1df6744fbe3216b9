"""From bytes to upright RGB pixels, once for all stages. What is no picture, or is too large, is refused here."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from processors.cores import cores
from processors.frame import Frame, Invalid, Verdicts
from processors.headers import Header, Unreadable, read_header
from processors.pixel_budget import PixelBudget
from processors.shrink import encode_jpeg, shrink, within
from processors.still import Image, decode_still, decoding_pixels

SMALL_BYTES = 64 << 10
"""A JPEG of a thumbnail's size and at most this many bytes is its own thumbnail: encoding it again would cost more."""


class DecodeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[stages.decode]`."""

    max_bytes: int = 64 << 20
    """Maximum size of an original; a larger one is dead."""
    max_pixels: int = 100_000_000
    """Maximum pixels of a picture; a larger one is dead. 100 megapixels are 300 MB of RGB, and a batch holds many."""
    decoding_pixels: int = 100_000_000
    """Maximum pixels being decoded at a time; a larger picture is decoded alone. Decoders take 3 to 16 bytes for each,
    most for PNG with 16 bits. A JPEG that is not progressive counts as large as it is decoded."""
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
    """Decodes still pictures; fills `pixels`, the thumbnail, and the size and format of `image`."""

    Settings = DecodeSettings

    name, lane = "decode", "cpu"
    requires, provides = frozenset({"original"}), frozenset({"pixels", "thumbnail_jpeg"})

    def __init__(self, settings: DecodeSettings) -> None:
        self._settings = settings
        self._threads = settings.threads or cores()
        self._budget = PixelBudget(settings.decoding_pixels)
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
        picture = frame.original or b""
        try:
            header = self._checked_header(picture)
            max_side = self._settings.max_side
            with self._budget.taken(decoding_pixels(header, max_side)):
                still = decode_still(picture, header, max_side)
        except Unreadable as error:
            return Invalid(error.reason, str(error))
        known, seen = frame.image, (still.width, still.height, header.format)
        if (known.width, known.height, known.format) != seen:
            frame.image = msgspec.structs.replace(known, width=still.width, height=still.height, format=header.format)
        frame.pixels = still.pixels
        frame.thumbnail_jpeg = self._thumbnail(picture, header, still.pixels)
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

    def _thumbnail(self, picture: bytes, header: Header, pixels: Image) -> bytes | None:
        side = self._settings.thumbnail_side
        if not side:
            return None
        if header.format == "jpeg" and max(header.width, header.height) <= side and len(picture) <= SMALL_BYTES:
            return picture  # small as it is; what shows it applies EXIF
        small = shrink(pixels, *within(pixels.shape[1], pixels.shape[0], side))
        return encode_jpeg(small, self._settings.thumbnail_quality)
