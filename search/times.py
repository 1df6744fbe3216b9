"""Times as people type them: a date, a date and time, or how long ago.

What names no zone is in the reader's: `zone`, where None is the machine's own. A date is the whole day there.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from search.errors import BadQuery, quoted

_AGO = re.compile(r"(\d+)\s*([smhdw])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_MAX_DIGITS = 12
"""That many seconds are 30,000 years; `int` refuses thousands of digits with an error of its own."""
_LOST_PLUS = re.compile(r"(.*[T ]\d\d(?::?\d\d){1,2}(?:[.,]\d+)?) (\d\d:?\d\d)", re.ASCII)
"""An offset whose `+` a URL's decoding turned into a space."""


def parse_time(text: str, now: datetime, zone: tzinfo | None = UTC) -> datetime:
    """The moment from which on something counts, in UTC: of a date, the day's begin. Raises BadQuery."""
    text = text.strip()
    day = _day(text)
    return _begin(text, day, zone) if day else _instant(text, now, zone)


def parse_until(text: str, now: datetime, zone: tzinfo | None = UTC) -> datetime:
    """The moment before which something counts, in UTC: of a date, the day's end. Raises BadQuery."""
    text = text.strip()
    day = _day(text)
    if day is None:
        return _instant(text, now, zone)
    if day == date.max:
        raise _beyond(text)
    return _begin(text, day + timedelta(days=1), zone)


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _begin(text: str, day: date, zone: tzinfo | None) -> datetime:
    return _utc(text, datetime.combine(day, time.min), zone)


def _instant(text: str, now: datetime, zone: tzinfo | None) -> datetime:
    if ago := _AGO.fullmatch(text.casefold()):
        return _ago(text, now, ago[1].lstrip("0") or "0", _UNITS[ago[2]])
    if lost := _LOST_PLUS.fullmatch(text):
        text = f"{lost[1]}+{lost[2]}"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadQuery(f"{quoted(text)} is no time: write 2026-11-21, 2026-11-21T08:30 or 2h") from None
    return _utc(text, moment, zone)


def _ago(text: str, now: datetime, digits: str, unit: str) -> datetime:
    if len(digits) > _MAX_DIGITS:
        raise _beyond(text)
    try:
        return (now - timedelta(**{unit: int(digits)})).astimezone(UTC)
    except OverflowError:
        raise _beyond(text) from None


def _utc(text: str, moment: datetime, zone: tzinfo | None) -> datetime:
    """A moment without a zone is in `zone`."""
    try:
        return (moment if moment.tzinfo or zone is None else moment.replace(tzinfo=zone)).astimezone(UTC)
    except (OverflowError, ValueError, OSError):
        raise _beyond(text) from None


def _beyond(text: str) -> BadQuery:
    return BadQuery(f"{quoted(text)} is beyond the calendar's years 1 to 9999")
