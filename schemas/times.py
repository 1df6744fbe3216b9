"""Times of records, whose timestamps other producers may set to any number."""

from __future__ import annotations

from datetime import UTC, datetime

UNKNOWN = datetime(1970, 1, 1, tzinfo=UTC)
"""Stands for a time that a record does not say."""


def appended(seconds: float) -> datetime:
    """A record's timestamp (seconds since 1970) as a time; UNKNOWN before 1970 and beyond the calendar.

    It follows from the record alone: a record that is read again gives the same time.
    """
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds > 0 else UNKNOWN
    except (ValueError, OverflowError, OSError):
        return UNKNOWN
