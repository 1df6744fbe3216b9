"""What a terminal shows of a search."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from search.results import SearchHit, SearchResult, UnknownName
from sightline.config import Config
from sightline.terminal.render import local_time, print_result

HIT = SearchHit(
    id="496f27ce-255e-5f9b-97d3-0b783fb18967", score=0.25, probability=0.75,
    payload={"feed": "yard", "time": "2026-11-21T23:30:00.5+00:00", "caption": "a red circle"},
)  # fmt: skip


@pytest.fixture
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def shown(result: SearchResult, capsys: pytest.CaptureFixture[str], timezone: str = "UTC") -> str:
    print_result(result, Config(timezone=timezone))
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "moment", ["2026-11-21T23:30:00.5Z", "2026-11-22T01:30:00+02:00", datetime(2026, 11, 21, 23, 30, tzinfo=UTC)]
)
def test_a_printed_time_is_local_and_names_its_offset(moment: str | datetime, in_tokyo: None) -> None:
    assert local_time(moment, ZoneInfo("Europe/Berlin")) == "2026-11-22 00:30:00+01:00"
    assert local_time(moment, None) == "2026-11-22 08:30:00+09:00"


def test_what_is_no_time_is_printed_as_it_is() -> None:
    assert [local_time(text, UTC) for text in (None, "", "noon")] == ["", "", "noon"]


def test_a_result_says_how_many_there_are_and_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    result = SearchResult(text="a", hits=(HIT,), ranked=True, calibrated=True, total=7, cursor="n1")
    text = shown(result, capsys, "Europe/Berlin")
    assert "75% a red circle" in text
    assert "yard · 2026-11-22 00:30:00+01:00 · 496f27ce" in text
    assert "1 of at least 7 pictures; the next ones: --cursor n1" in text


def test_filters_alone_have_no_scores(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(SearchResult(text="", hits=(HIT,), total=1, total_is_exact=True), capsys)
    assert "75%" not in text
    assert "cursor" not in text


def test_what_is_not_understood_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    unknown = UnknownName(kind="label", name="sqare", nearest=("square", "star"))
    result = SearchResult(
        text="",
        counts=("2 circles",),
        notes=("parentheses are not understood",),
        unknown_words=("🦊",),
        unknown_names=(unknown,),
        nothing_matches=True,
    )
    text = shown(result, capsys)
    assert "do not know: 🦊" in text
    assert "no label 'sqare' in the index; nearest: square, star" in text
    assert "with: 2 circles" in text
    assert "parentheses are not understood" in text
    nothing = SearchResult(text="", nothing_matches=True, nothing_left=True)
    assert "nothing to search for is left" in shown(nothing, capsys)
