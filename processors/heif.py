"""HEIF's boxes (ISO/IEC 23008-12, 14496-12): the size, the orientation and the EXIF of a HEIC or AVIF picture.

A phone's picture is a grid of tiles behind one item, the primary one; that item's properties are the picture's.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from processors.orientation import UPRIGHT, combine

_ROTATIONS = {0: UPRIGHT, 1: 8, 2: 3, 3: 6}
"""`irot`: quarter turns counterclockwise, as EXIF's numbers."""
_MIRRORS = {0: 4, 1: 2}
"""`imir`: 0 exchanges top and bottom, 1 left and right."""
MAX_EXIF_BYTES = 1 << 20
_IN_FILE, _IN_IDAT = 0, 1
"""Where the bytes of an item are (`construction_method`)."""
_MAX_BOXES, _MAX_ITEMS, _MAX_PIECES = 16_384, 4_096, 64
"""More than any camera writes; libheif refuses 1,000 items and 32 pieces. No header may take long to read."""
_METADATA = frozenset({b"Exif", b"mime", b"uri "})
Extent = tuple[int, int]
Box = tuple[bytes, int, int]
"""A box's type, and where its content begins and ends."""


@dataclass(frozen=True, slots=True)
class HeifHeader:
    """Width and height in pixels as stored. `orientation` is None if the item has neither `irot` nor `imir`: then
    EXIF's counts, which the standard overrules where there is one."""

    width: int
    height: int
    orientation: int | None
    exif: bytes
    primaries: int = 0
    transfer: int = 0
    """ITU-T H.273's code points of the colors; 0: not stated."""


def read_heif(picture: bytes) -> HeifHeader:
    """Raises struct.error or IndexError where the file ends too early, KeyError for a box that is missing."""
    meta = {kind: (start, end) for kind, start, end in _boxes(picture, *_meta(picture))}
    wide = picture[meta[b"pitm"][0]] > 0
    primary = struct.unpack_from(">I" if wide else ">H", picture, meta[b"pitm"][0] + 4)[0]
    properties = list(_properties(picture, meta[b"iprp"], primary))
    sizes = [struct.unpack_from(">II", picture, start + 4) for kind, start, _ in properties if kind == b"ispe"]
    turns = [
        (_ROTATIONS if kind == b"irot" else _MIRRORS)[picture[start] & (3 if kind == b"irot" else 1)]
        for kind, start, _ in properties
        if kind in (b"irot", b"imir")
    ]
    orientation = None
    for turn in turns:
        orientation = combine(orientation or UPRIGHT, turn)
    if not sizes:
        raise KeyError("ispe")
    items, extents = _items(picture, *meta[b"iinf"]), _extents(picture, meta)
    _check_whole(picture, items, extents)
    width, height = sizes[0]
    colors = (at for kind, at, _ in properties if kind == b"colr" and picture[at : at + 4] == b"nclx")
    primaries, transfer = next((struct.unpack_from(">HH", picture, at + 4) for at in colors), (0, 0))
    return HeifHeader(width, height, orientation, _exif(picture, items, extents), primaries, transfer)


def _check_whole(picture: bytes, items: Mapping[int, bytes], extents: Mapping[int, Sequence[Extent]]) -> None:
    """Raises IndexError for a file that ends within its pixels: libheif leaves out the tiles that it lacks."""
    for item, pieces in extents.items():
        if items.get(item) not in _METADATA and any(end > len(picture) for _, end in pieces):
            raise IndexError(item)


def _boxes(picture: bytes, start: int, end: int) -> Iterator[Box]:
    for _ in range(_MAX_BOXES):
        if start + 8 > end:
            return
        size, kind = struct.unpack_from(">I4s", picture, start)
        body = start + 8
        if size == 1:
            size, body = struct.unpack_from(">Q", picture, body)[0], body + 8
        stop = min(start + size, end) if size else end
        if stop < body:
            return
        yield kind, body, stop
        start = stop


def _meta(picture: bytes) -> tuple[int, int]:
    """Where the content of the file's `meta` box lies, behind its version and flags."""
    return next(((start + 4, end) for kind, start, end in _boxes(picture, 0, len(picture)) if kind == b"meta"), (0, 0))


def _properties(picture: bytes, iprp: tuple[int, int], item: int) -> Iterator[Box]:
    """The properties of an item, in the order in which they apply."""
    shared: list[Box] = []
    for kind, start, end in _boxes(picture, *iprp):
        if kind == b"ipco":
            shared = list(_boxes(picture, start, end))
        elif kind == b"ipma":
            for index in _associations(picture, start, item):
                if 1 <= index <= len(shared):
                    yield shared[index - 1]


def _associations(picture: bytes, start: int, item: int) -> list[int]:
    """Numbers (from 1) of the properties that `ipma` gives to an item."""
    version, wide = picture[start], picture[start + 3] & 1
    item_format, index_format, mask = ">I" if version else ">H", ">H" if wide else ">B", 0x7FFF if wide else 0x7F
    position = start + 8
    for _ in range(_bounded(struct.unpack_from(">I", picture, start + 4)[0], _MAX_ITEMS)):
        (identity,) = struct.unpack_from(item_format, picture, position)
        position += struct.calcsize(item_format)
        count, step = picture[position], struct.calcsize(index_format)
        if identity == item:
            at = range(position + 1, position + 1 + count * step, step)
            return [struct.unpack_from(index_format, picture, place)[0] & mask for place in at]
        position += 1 + count * step
    return []


def _bounded(count: int, most: int) -> int:
    """Raises IndexError for a count beyond what pictures have."""
    if count > most:
        raise IndexError(count)
    return count


def _exif(picture: bytes, items: Mapping[int, bytes], extents: Mapping[int, Sequence[Extent]]) -> bytes:
    """The TIFF structure of the first EXIF item; empty if there is none or it cannot be read."""
    places = (extents.get(item) for item, kind in items.items() if kind == b"Exif")
    start, end = next((place[0] for place in places if place), (0, 0))
    block = picture[start : min(end, start + MAX_EXIF_BYTES)]
    return block[4 + int.from_bytes(block[:4], "big") :]


def _items(picture: bytes, start: int, end: int) -> dict[int, bytes]:
    """The type of each item, by `iinf`."""
    items = {}
    for kind, body, _ in _boxes(picture, start + (8 if picture[start] else 6), end):
        if kind == b"infe":
            wide = picture[body] > 2
            (item,) = struct.unpack_from(">I" if wide else ">H", picture, body + 4)
            at = body + (10 if wide else 8)
            items[item] = picture[at : at + 4]
    return items


class _Reader:
    """Reads big-endian numbers one after the other."""

    def __init__(self, picture: bytes, position: int) -> None:
        self._picture = picture
        self._position = position

    def number(self, size_bytes: int) -> int:
        end = self._position + size_bytes
        if end > len(self._picture):
            raise IndexError(end)
        value = int.from_bytes(self._picture[self._position : end], "big")
        self._position = end
        return value


def _extents(picture: bytes, meta: Mapping[bytes, Extent]) -> dict[int, list[Extent]]:
    """Where the pieces of each item begin and end, by `iloc`; items that are made of others are left out."""
    read = _Reader(picture, meta[b"iloc"][0])
    version = read.number(4) >> 24
    sizes = read.number(2)
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version else 0
    extents = {}
    for _ in range(_bounded(read.number(4 if version > 1 else 2), _MAX_ITEMS)):
        item = read.number(4 if version > 1 else 2)
        method = read.number(2) & 15 if version else 0
        read.number(2)
        base = read.number(base_size) + (meta.get(b"idat", (0, 0))[0] if method == _IN_IDAT else 0)
        count = _bounded(read.number(2), _MAX_PIECES)
        pieces = [(read.number(index_size), read.number(offset_size), read.number(length_size)) for _ in range(count)]
        if method in (_IN_FILE, _IN_IDAT):
            extents[item] = [(base + offset, base + offset + length) for _, offset, length in pieces]
    return extents
