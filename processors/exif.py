"""The tags of EXIF that Sightline reads: how the camera was held, and when (TIFF 6.0, CIPA DC-008).

Whatever a tag holds, nothing here raises: cameras and editors write nonsense, and the picture is good all the same.
"""

from __future__ import annotations

import re
import struct
from datetime import UTC, datetime, timedelta, timezone, tzinfo

_ORIENTATION, _EXIF_DIRECTORY = 0x112, 0x8769
_TAKEN, _TAKEN_OFFSET, _TAKEN_SUBSECONDS = 0x9003, 0x9011, 0x9291
"""`DateTimeOriginal`, `OffsetTimeOriginal`, `SubSecTimeOriginal`. `DateTime` is when the file was last changed, and
`DateTimeDigitized` when a print was scanned."""
_READ = frozenset({_ORIENTATION, _EXIF_DIRECTORY, _TAKEN, _TAKEN_OFFSET, _TAKEN_SUBSECONDS})
_NUMBERS = {1: "B", 3: "H", 4: "I"}
"""TIFF's types of whole numbers; some writers use another one for the orientation than the standard says."""
_TEXT = 2
_MAX_TEXT_BYTES = 64
_DATE = re.compile(r"(\d{4})[:/-](\d\d)[:/-](\d\d)[ T](\d\d):(\d\d):(\d\d)")
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)")
FIRST_YEAR = 1826
"""The oldest photograph that survives. An earlier year, such as 0 or 1, is a clock that was never set."""
_MAX_OFFSET = timedelta(hours=14)

Tags = dict[int, int | str]


def orientation(exif: bytes) -> int:
    """1 to 8; 1 where there is none. `exif` is the TIFF structure, empty if the picture has none."""
    value = _tags(exif).get(_ORIENTATION)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def time_taken(exif: bytes, zone: tzinfo | None, now: datetime) -> datetime | None:
    """When the picture was taken, in UTC; None if EXIF does not say so or says nonsense (before photography, after
    `now`).

    The time counts in the offset that stands beside it, else in `zone`; None is the machine's own.
    """
    tags = _tags(exif)
    local = _local_time(tags)
    if local is None:
        return None
    try:
        offset = _offset(str(tags.get(_TAKEN_OFFSET, "")))
        moment = (local.replace(tzinfo=offset or zone) if offset or zone else local).astimezone(UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return moment if moment.year >= FIRST_YEAR and moment <= now else None


def _local_time(tags: Tags) -> datetime | None:
    match = _DATE.match(str(tags.get(_TAKEN, "")))
    if match is None:
        return None
    digits = re.match(r"\d{1,6}", str(tags.get(_TAKEN_SUBSECONDS, "")))
    microsecond = int(digits.group().ljust(6, "0")) if digits else 0
    year, month, day, hour, minute, second = map(int, match.groups())
    try:
        return datetime(year, month, day, hour, minute, second, microsecond)  # noqa: DTZ001 - the zone follows
    except ValueError:
        return None


def _offset(text: str) -> timezone | None:
    """`+09:00`, `-0530` or `Z`; None for anything else."""
    if text == "Z":
        return UTC
    match = _OFFSET.match(text)
    if match is None:
        return None
    size = timedelta(hours=int(match.group(2)), minutes=int(match.group(3)))
    return timezone(size if match.group(1) == "+" else -size) if size <= _MAX_OFFSET else None


def _tags(exif: bytes) -> Tags:
    """The tags in the first directory and in the one that it refers to."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return {}
    tags: Tags = {}
    try:
        _read_directory(exif, order, struct.unpack_from(f"{order}I", exif, 4)[0], tags)
        below = tags.get(_EXIF_DIRECTORY)
        if isinstance(below, int):
            _read_directory(exif, order, below, tags)
    except struct.error:
        pass  # what was read before the end counts
    return tags


def _read_directory(exif: bytes, order: str, start: int, tags: Tags) -> None:
    """Add the directory's tags. Raises struct.error where it ends too early."""
    for entry in range(struct.unpack_from(f"{order}H", exif, start)[0]):
        position = start + 2 + 12 * entry
        tag, kind, count = struct.unpack_from(f"{order}HHI", exif, position)
        if tag not in _READ:
            continue
        if kind in _NUMBERS:
            tags.setdefault(tag, int(struct.unpack_from(f"{order}{_NUMBERS[kind]}", exif, position + 8)[0]))
        elif kind == _TEXT:
            at = position + 8 if count <= 4 else struct.unpack_from(f"{order}I", exif, position + 8)[0]
            text = exif[at : at + min(count, _MAX_TEXT_BYTES)].partition(b"\0")[0]
            tags.setdefault(tag, text.decode("ascii", "replace").strip())
