"""Times as people type them: whole local days, moments, and how long ago."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from search.errors import BadQuery
from search.query import Filters, parse, parse_filters
from search.times import parse_time, parse_until

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)
BERLIN, AUCKLAND = ZoneInfo("Europe/Berlin"), ZoneInfo("Pacific/Auckland")


@pytest.fixture
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine's own zone."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_a_day_is_the_whole_local_day() -> None:
    day = parse_filters([], [], "2026-11-21", "2026-11-21", NOW, BERLIN)
    assert day == Filters(since=datetime(2026, 11, 20, 23, tzinfo=UTC), until=datetime(2026, 11, 21, 23, tzinfo=UTC))
    changed = parse("since:2026-10-25 until:2026-10-25", now=NOW, zone=BERLIN).filters
    assert (changed.since, changed.until) == (
        datetime(2026, 10, 24, 22, tzinfo=UTC), datetime(2026, 10, 25, 23, tzinfo=UTC)
    )  # fmt: skip
    assert parse_time("2026-11-21", NOW, AUCKLAND) == datetime(2026, 11, 20, 11, tzinfo=UTC)


def test_without_a_setting_the_zone_is_the_machines(in_tokyo: None) -> None:
    assert os.environ["TZ"] == "Asia/Tokyo"
    assert parse_time("2026-11-21", NOW, None) == datetime(2026, 11, 20, 15, tzinfo=UTC)
    assert parse_until("2026-11-21", NOW, None) == datetime(2026, 11, 21, 15, tzinfo=UTC)


def test_a_moment_is_in_the_given_zone_unless_it_names_one() -> None:
    for parsed in (parse_time, parse_until):
        assert parsed("2026-11-21T09:00", NOW, BERLIN) == NOW
        assert parsed("2026-11-21T08:00Z", NOW, BERLIN) == NOW
        assert parsed("2026-11-21T10:00+02:00", NOW, BERLIN) == NOW
        assert parsed("2h", NOW, BERLIN) == NOW - timedelta(hours=2)
        assert parsed("2h", NOW, BERLIN).tzinfo is UTC


@pytest.mark.parametrize(
    "decoded", ["2026-11-21T10:00 02:00", "2026-11-21 10:00 02:00", "2026-11-21T10:00:00.000 0200", "2026-11-21 10:00Z"]
)
def test_the_plus_of_an_offset_may_be_lost_in_a_url(decoded: str) -> None:
    assert parse_time(decoded, NOW) in (NOW, NOW + timedelta(hours=2))


@pytest.mark.parametrize(
    "typed",
    ["9" * 5000 + "h", "99999999999d", "9" * 400 + "w", "0001-01-01T00:00+14:00", "9999-12-31T23:59-12:00", "١٢h",
     "soon", "10000-01-01", "-5h", "2026-02-30", "h", "2026-11-21T25:00", "2026-11-21T08:00+99:00", "\n" * 3 + "x"],
)  # fmt: skip
def test_times_beyond_the_calendar_are_refused_in_one_short_line(typed: str) -> None:
    for parsed in (parse_time, parse_until):
        with pytest.raises(BadQuery) as refused:
            parsed(typed, NOW)
        assert len(str(refused.value)) < 150
        assert "\n" not in str(refused.value)
    with pytest.raises(BadQuery):
        parse(f'circle since:"{typed}"', now=NOW)


def test_the_ends_of_the_calendar() -> None:
    assert parse_time("0001-01-01", NOW) == datetime(1, 1, 1, tzinfo=UTC)
    assert parse_time("9999-12-31", NOW) == datetime(9999, 12, 31, tzinfo=UTC)
    for typed, parsed, zone in (("0001-01-01", parse_time, BERLIN), ("9999-12-31", parse_until, UTC)):
        with pytest.raises(BadQuery, match="calendar"):
            parsed(typed, NOW, zone)


@pytest.mark.parametrize(
    "typed", ["since:2h until:3h", "since:2026-11-21 until:2026-11-20", "since:2026-11-21T08:00 until:2026-11-21T08:00"]
)
def test_reversed_times_are_told(typed: str) -> None:
    with pytest.raises(BadQuery, match="is not before until"):
        parse(typed, now=NOW)


def test_of_several_times_the_narrowest_count() -> None:
    filters = parse("since:3h since:2h until:1h", now=NOW, filters=Filters(until=NOW, since=NOW - timedelta(hours=9)))
    assert filters.filters == Filters(since=NOW - timedelta(hours=2), until=NOW - timedelta(hours=1))
