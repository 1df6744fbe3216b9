"""A picture's format and size from its first bytes: known before a decoder allocates memory for it.

JPEG (ITU T.81 B.2.2), PNG (W3C PNG 5.2 and 11.2.1) and WebP (RFC 9649) by their signatures, never by a name.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

Format = Literal["jpeg", "png", "webp"]
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG markers that carry the size; the three left out are tables."""
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9), 0xFF})
"""Markers without a segment; 0xFF is a fill byte before one."""
_APP1, _ORIENTATION = 0xE1, 0x112
"""The JPEG segment that holds EXIF, and EXIF's tag for how the camera was held."""


class Unreadable(ValueError):  # noqa: N818 - named for the state
    """The bytes are no picture that Sightline accepts; `reason` is `unsupported_format` or `unreadable_image`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Header:
    """What a picture's header states; width and height in pixels as stored, EXIF's rotation not applied.

    `orientation` is a JPEG's from EXIF, 1 to 8; for other formats the decoder applies it.
    """

    format: Format
    width: int
    height: int
    orientation: int = 1

    @property
    def pixels(self) -> int:
        return self.width * self.height


def read_header(picture: bytes) -> Header:
    """The header of a JPEG, PNG or WebP picture. Raises `Unreadable` for anything else or anything cut short."""
    try:
        kind, (width, height), orientation = _read(picture)
    except (struct.error, IndexError) as error:
        raise Unreadable("unreadable_image", "the picture ends within its header") from error
    if width < 1 or height < 1:
        raise Unreadable("unreadable_image", f"the {kind} header states {width} × {height} pixels")
    return Header(kind, width, height, orientation)


def _read(picture: bytes) -> tuple[Format, tuple[int, int], int]:
    if picture[:3] == b"\xff\xd8\xff":
        return "jpeg", *_jpeg(picture)
    if picture[:8] == b"\x89PNG\r\n\x1a\n":
        if picture[12:16] != b"IHDR":
            raise Unreadable("unreadable_image", "the PNG does not begin with its header")
        return "png", struct.unpack_from(">II", picture, 16), 1
    if picture[:4] == b"RIFF" and picture[8:12] == b"WEBP":
        return "webp", _webp(picture), 1
    raise Unreadable("unsupported_format", f"neither JPEG, PNG nor WebP (begins with {picture[:8].hex(' ')})")


def _jpeg(picture: bytes) -> tuple[tuple[int, int], int]:
    """Width and height as stored, and the orientation: segments are followed up to the frame header."""
    position, orientation = 2, 1
    while picture[position] == 0xFF:
        marker = picture[position + 1]
        if marker in _START_OF_FRAME:
            return _size_of_frame(picture, position), orientation
        if marker in _WITHOUT_LENGTH:
            position += 1 if marker == 0xFF else 2
        elif marker in (0xD9, 0xDA):
            raise Unreadable("unreadable_image", "the JPEG has no frame header before its pixels")
        else:
            length = max(picture[position + 2] << 8 | picture[position + 3], 2)
            if marker == _APP1 and picture[position + 4 : position + 10] == b"Exif\0\0":
                orientation = _orientation(picture[position + 10 : position + 2 + length])
            position += 2 + length
    raise Unreadable("unreadable_image", f"no JPEG marker at byte {position}")


def _size_of_frame(picture: bytes, position: int) -> tuple[int, int]:
    height, width = struct.unpack_from(">HH", picture, position + 5)
    return width, height


def _orientation(exif: bytes) -> int:
    """Tag 0x112 of the first directory (CIPA DC-008 4.6.4); 1 where there is none or it cannot be read."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 1
    try:
        first = struct.unpack_from(f"{order}I", exif, 4)[0]
        for entry in range(struct.unpack_from(f"{order}H", exif, first)[0]):
            tag, value = struct.unpack_from(f"{order}H6xH", exif, first + 2 + 12 * entry)
            if tag == _ORIENTATION:
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def _webp(picture: bytes) -> tuple[int, int]:
    chunk = picture[12:16]
    if chunk == b"VP8X":
        low_w, high_w, low_h, high_h = struct.unpack_from("<HBHB", picture, 24)
        return 1 + low_w + (high_w << 16), 1 + low_h + (high_h << 16)
    if chunk == b"VP8L":
        bits = struct.unpack_from("<I", picture, 21)[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if chunk == b"VP8 ":
        width, height = struct.unpack_from("<HH", picture, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise Unreadable("unreadable_image", f"unknown WebP chunk {chunk!r}")
