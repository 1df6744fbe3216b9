"""What the bytes of a picture say of it before it is decoded: its size, and when it was taken."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from processors.exif import time_taken
from processors.headers import Unreadable, read_header

LAST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Description:
    """Width and height in pixels of the upright picture, 0 if its header cannot be read; `taken` in UTC."""

    width: int = 0
    height: int = 0
    taken: datetime | None = None
    is_from_future: bool = False
    """The picture says that it was taken later than now: then `taken` is None."""


def describe(picture: bytes, zone: tzinfo | None, now: datetime) -> Description:
    """`zone` is that of EXIF dates without an offset, None the machine's own. Never raises: decoding finds out why."""
    try:
        header = read_header(picture)
    except Unreadable:
        return Description()
    taken = time_taken(header.exif, zone, now)
    is_from_future = taken is None and time_taken(header.exif, zone, LAST) is not None
    return Description(*header.upright_size, taken, is_from_future)
