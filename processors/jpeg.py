"""JPEG to RGB through libjpeg-turbo (simplejpeg), which takes two thirds of OpenCV's time for it.

A camera that was switched off, or a copy that ended early, leaves a JPEG without its end marker. It is whole if its
pixel data are; libjpeg tells, once the marker is there. What a file lacks at a scan's end libjpeg does not tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import simplejpeg
from numpy.typing import NDArray

Image = NDArray[np.uint8]
_END = b"\xff\xd9"
_START_OF_SCAN, _SEQUENTIAL_FRAMES, _PROGRESSIVE_FRAMES = 0xDA, frozenset({0xC0, 0xC1, 0xC9}), frozenset({0xC2, 0xCA})
_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
"""Inside pixel data 0xFF is followed by 0 or by a restart marker (0xD0 to 0xD7)."""
_WITHOUT_SEGMENT = frozenset({0x01, 0xD8, 0xD9})
_LAST_COEFFICIENT = 63


def decode_jpeg(jpeg: bytes, at_least: tuple[int, int] | None = None) -> Image | None:
    """RGB [H, W, 3] as stored, or None for an irregular JPEG, which OpenCV may still decode if it `is_complete`.

    With `at_least` (width and height) it is reduced by the strongest of a half, a quarter and so on that leaves that
    size. Irregular are CMYK, a file cut short, and bytes between segments.
    """
    try:
        return _decode(jpeg, at_least)
    except ValueError:
        pass
    try:
        return _decode(with_end(jpeg), at_least) if lacks_only_its_end(jpeg) else None
    except ValueError:
        return None


def is_complete(jpeg: bytes) -> bool:
    """Whether no pixels lack. OpenCV does not tell: it takes what follows a cut, such as zeros, for pixels."""
    if _has_end(jpeg):
        return True
    try:
        return lacks_only_its_end(jpeg) and bool(simplejpeg.decode_jpeg(with_end(jpeg), "CMYK").size)
    except ValueError:
        return False


def with_end(jpeg: bytes) -> bytes:
    """`jpeg`, which may have half of an end marker, with a whole one."""
    return jpeg.removesuffix(_END[:1]) + _END


def _decode(jpeg: bytes, at_least: tuple[int, int] | None) -> Image:
    decoded: Image = simplejpeg.decode_jpeg(jpeg, "RGB", **_minimum_size(at_least))
    return decoded


def _has_end(jpeg: bytes) -> bool:
    return any(marker == _END[1] for marker, _ in _segments(jpeg))


def _minimum_size(size: tuple[int, int] | None) -> dict[str, int]:
    """Arguments for a minimum size, none without one: passing a size costs 5 %, even the full one."""
    return {} if size is None else {"min_width": size[0], "min_height": size[1]}


def lacks_only_its_end(jpeg: bytes) -> bool:
    """Whether there is no end marker, and every component has all its scans; pixels may lack in the last one."""
    kind, components, complete = 0, 0, set[tuple[int, int]]()
    for marker, start in _segments(jpeg):
        if marker == _END[1]:
            return False
        if marker in _SEQUENTIAL_FRAMES | _PROGRESSIVE_FRAMES:
            kind, components = marker, int.from_bytes(jpeg[start + 7 : start + 8], "big")
        elif marker == _START_OF_SCAN:
            complete |= _finished(jpeg[start : start + _length(jpeg, start)])
    bands = 2 if kind in _PROGRESSIVE_FRAMES else 1
    return kind != 0 and len({entry for entry in complete if entry[1] < bands}) >= bands * components


def _segments(jpeg: bytes) -> Iterator[tuple[int, int]]:
    """Each marker, and where its segment's length stands; those of thumbnails inside a segment are no markers."""
    position = 2
    while found := _MARKER.search(jpeg, position):
        position = found.end()
        yield found.group(1)[0], position
        if found.group(1)[0] not in _WITHOUT_SEGMENT:
            position += _length(jpeg, position)


def _length(jpeg: bytes, start: int) -> int:
    """A segment's length in bytes, the two that hold it included."""
    return int.from_bytes(jpeg[start : start + 2], "big")


def _finished(scan: bytes) -> set[tuple[int, int]]:
    """(component, band) that a scan brings to full precision; band 0 is the average, 1 the detail's last coefficient.

    `scan` is its header (T.81 B.2.3): a count, two bytes per component, the first and last coefficient, the precision.
    """
    if len(scan) < 3 or len(scan) < 6 + 2 * scan[2]:
        return set()
    first, last, precision = scan[3 + 2 * scan[2] : 6 + 2 * scan[2]]
    bands = [0] * (first == 0) + [1] * (last == _LAST_COEFFICIENT)
    return {(scan[3 + 2 * n], band) for n in range(scan[2]) for band in bands if precision & 15 == 0}
