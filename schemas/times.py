"""Times of records, whose timestamps other producers may set to any number, and of decoded events, always in UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from schemas.errors import Undecodable

UNKNOWN = datetime(1970, 1, 1, tzinfo=UTC)
"""Stands for a time that a record does not say."""
TIMES = ("ingested", "captured", "published", "died", "requested", "erased", "changed", "since", "before")
"""Fields of events that hold a time."""

_E = TypeVar("_E", bound=Struct)


def appended(seconds: float) -> datetime:
    """A record's timestamp (seconds since 1970) as a time; UNKNOWN before 1970 and beyond the calendar.

    It follows from the record alone: a record that is read again gives the same time.
    """
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds > 0 else UNKNOWN
    except (ValueError, OverflowError, OSError):
        return UNKNOWN


def in_utc(event: _E) -> _E:
    """With its times in UTC: JSON may hold any offset. Raises Undecodable for a time beyond the calendar."""
    foreign = {}
    for name in _times_of(type(event)):
        moment = getattr(event, name)
        if moment is not None and moment.tzinfo is not UTC:
            foreign[name] = moment
    try:
        return (
            replace(event, **{name: moment.astimezone(UTC) for name, moment in foreign.items()}) if foreign else event
        )
    except OverflowError:
        raise Undecodable(
            "wrong_type", f"a time of {', '.join(foreign)} is not within the years 1 to 9999 of UTC"
        ) from None


@lru_cache(maxsize=64)
def _times_of(event_type: type[Struct]) -> tuple[str, ...]:
    return tuple(name for name in TIMES if name in event_type.__struct_fields__)
