"""A picture's format, size, orientation and EXIF from its bytes: known before a decoder allocates memory for it.

JPEG (ITU T.81 B.2.2), PNG (W3C PNG 5.2 and 11.2.1), WebP (RFC 9649), GIF (89a) and HEIF by their signatures, never by a
name.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

from processors import exif
from processors.heif import MAX_EXIF_BYTES, read_heif
from processors.orientation import UPRIGHT, turns_sides
from schemas.events import Format
from schemas.pictures import FORMATS, picture_format

_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG markers that carry the size; the three left out are tables."""
_SEQUENTIAL = frozenset({0xC0, 0xC1})
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9), 0xFF})
"""Markers without a segment; 0xFF is a fill byte before one."""
_APP1 = 0xE1
"""The JPEG segment that holds EXIF."""
_MAX_PARTS = 16_384
"""Segments or chunks that are looked at: a PNG of 64 MB has half as many. It bounds the time that a header takes."""
_EXIF_PREFIX = b"Exif\0\0"
_PNG_COLORS_WITH_ALPHA = frozenset({4, 6})
_WEBP_TRANSPARENT, _WEBP_EXIF = 0x10 | 0x02, 0x08
"""Flags of WebP's extended header. An animation may be transparent, too: its frames need not cover the canvas."""


class Unreadable(ValueError):  # noqa: N818 - named for the state
    """The bytes are no picture that Sightline accepts; `reason` is `unsupported_format` or `unreadable_image`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Header:
    """What a picture's header states; width and height in pixels as a decoder gives them.

    `orientation` (EXIF's number) is what is left to do after decoding; `transparent` whether a PNG or WebP may have
    transparent pixels; `exif` the TIFF structure, empty if there is none.
    """

    format: Format
    width: int
    height: int
    orientation: int = UPRIGHT
    transparent: bool = False
    exif: bytes = b""
    by_rows: bool = False
    """Whether a decoder needs only some rows at a time, as for a JPEG that is not progressive."""
    primaries: int = 0
    transfer: int = 0
    """ITU-T H.273's code points of a HEIF's colors; 0: not stated."""

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height as the picture is shown."""
        return (self.height, self.width) if turns_sides(self.orientation) else (self.width, self.height)


def read_header(picture: bytes) -> Header:
    """The header of a picture. Raises `Unreadable` for anything else or anything cut short."""
    image_format = picture_format(picture)
    if image_format is None:
        raise Unreadable("unsupported_format", f"not {FORMATS} (begins with {picture[:8].hex(' ')})")
    try:
        header = _read(image_format, picture)
    except (struct.error, IndexError) as error:
        raise Unreadable("unreadable_image", f"the {image_format} is cut short") from error
    if header.width < 1 or header.height < 1:
        raise Unreadable(
            "unreadable_image", f"the {image_format} header states {header.width} × {header.height} pixels"
        )
    return header


def _read(image_format: Format, picture: bytes) -> Header:
    if image_format == "jpeg":
        return _jpeg(picture)
    if image_format == "png":
        return _png(picture)
    if image_format == "webp":
        return _webp(picture)
    if image_format == "gif":
        return Header("gif", *struct.unpack_from("<HH", picture, 6))
    return _heif(image_format, picture)


def _jpeg(picture: bytes) -> Header:
    """Segments are followed up to the frame header; EXIF stands before it."""
    position, found = 2, b""
    for _ in range(_MAX_PARTS):
        if picture[position] != 0xFF:
            break
        marker = picture[position + 1]
        if marker in _START_OF_FRAME:
            height, width = struct.unpack_from(">HH", picture, position + 5)
            by_rows = marker in _SEQUENTIAL
            return Header("jpeg", width, height, exif.orientation(found), exif=found, by_rows=by_rows)
        if marker in _WITHOUT_LENGTH:
            position += 1 if marker == 0xFF else 2
        elif marker in (0xD9, 0xDA):
            raise Unreadable("unreadable_image", "the JPEG has no frame header before its pixels")
        else:
            length = max(picture[position + 2] << 8 | picture[position + 3], 2)
            if marker == _APP1 and not found and picture[position + 4 : position + 10] == _EXIF_PREFIX:
                found = picture[position + 10 : position + 2 + length]
            position += 2 + length
    raise Unreadable("unreadable_image", f"no JPEG marker at byte {position}")


def _png(picture: bytes) -> Header:
    if picture[12:16] != b"IHDR":
        raise Unreadable("unreadable_image", "the PNG does not begin with its header")
    width, height, _, color = struct.unpack_from(">IIBB", picture, 16)
    transparent, found = color in _PNG_COLORS_WITH_ALPHA, b""
    for kind, content in _png_chunks(picture):
        if kind == b"tRNS":
            transparent = True
        elif kind == b"eXIf":
            found = bytes(content[:MAX_EXIF_BYTES])
    return Header("png", width, height, exif.orientation(found), transparent, found)


def _png_chunks(picture: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Each chunk's type and content; a checksum of four bytes follows it."""
    view, position = memoryview(picture), 8
    for _ in range(_MAX_PARTS):
        if position + 8 > len(picture):
            return
        length, kind = struct.unpack_from(">I4s", picture, position)
        yield kind, view[position + 8 : position + 8 + length]
        position += length + 12


def _webp(picture: bytes) -> Header:
    chunk = picture[12:16]
    if chunk == b"VP8X":
        low_w, high_w, low_h, high_h = struct.unpack_from("<HBHB", picture, 24)
        found = _webp_exif(picture) if picture[20] & _WEBP_EXIF else b""
        width, height = 1 + low_w + (high_w << 16), 1 + low_h + (high_h << 16)
        return Header("webp", width, height, exif.orientation(found), bool(picture[20] & _WEBP_TRANSPARENT), found)
    if chunk == b"VP8L":
        bits = struct.unpack_from("<I", picture, 21)[0]
        return Header("webp", 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), transparent=bool(bits >> 28 & 1))
    if chunk == b"VP8 ":
        width, height = struct.unpack_from("<HH", picture, 26)
        return Header("webp", width & 0x3FFF, height & 0x3FFF)
    raise Unreadable("unreadable_image", f"unknown WebP chunk {chunk!r}")


def _webp_exif(picture: bytes) -> bytes:
    """Chunks of an odd length are followed by a zero. Some writers put JPEG's prefix before the TIFF structure."""
    position = 12
    for _ in range(_MAX_PARTS):
        if position + 8 > len(picture):
            break
        kind, length = struct.unpack_from("<4sI", picture, position)
        if kind == b"EXIF":
            return picture[position + 8 : position + 8 + min(length, MAX_EXIF_BYTES)].removeprefix(_EXIF_PREFIX)
        position += 8 + length + (length & 1)
    return b""


def _heif(image_format: Format, picture: bytes) -> Header:
    try:
        stored = read_heif(picture)
    except KeyError as error:
        raise Unreadable("unreadable_image", f"the {image_format} has no box {error}") from error
    turn = exif.orientation(stored.exif) if stored.orientation is None else stored.orientation
    header = Header(
        image_format,
        stored.width,
        stored.height,
        turn,
        exif=stored.exif,
        primaries=stored.primaries,
        transfer=stored.transfer,
    )
    if image_format == "avif" or stored.orientation is None:
        return header
    width, height = header.upright_size  # libheif itself applies the item's orientation
    return replace(header, width=width, height=height, orientation=UPRIGHT)
