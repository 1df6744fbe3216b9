"""The grammar, by example."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from search.query import OR_NOTE, PARENTHESES_NOTE, BadQuery, Filters, parse, parse_filters, parse_time

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("typed", "text", "negatives"),
    [
        ("a red circle, but no square", "a red circle", ["square"]),
        ("a red star, 0 circles", "a red star", ["circle"]),
        ("a photo without squares, stars or a blue circle", "a photo", ["square", "star", "blue circle"]),
        ("circle -square -\"red star\"", "circle", ["square", "red star"]),
        ("a picture that is not a cartoon", "a picture", ["cartoon"]),
        ("no squares but a red circle", "a red circle", ["square"]),
        ("neither a square nor a circle", "", ["square", "circle"]),
        ("red circle, no square, blue star", "red circle, blue star", ["square"]),
        ("a man who doesn't wear a hat", "a man", ["wear hat"]),
        ("\"no parking\" sign", "no parking sign", []),
        ("a t-shirt - blue", "a t-shirt blue", []),
        ("A Red Circle. No Squares.", "A Red Circle", ["square"]),
        ("−square", "", ["square"]),
        ("circle -label:star", "circle", ["star"]),
        ("a scene with no people", "a scene", ["people"]),
        ("a circle –square —star", "a circle", ["square", "star"]),
        ("a red circle—no squares", "a red circle", ["square"]),
        ("a red circle — no squares", "a red circle", ["square"]),
        ("circle -label:\"red square\"", "circle", ["red square"]),
        ("circle -label:star,\"red square\"", "circle", ["star", "red square"]),
        ("नदी के किनारे लड़की -हिन्दी", "नदी के किनारे लड़की", ["हिन्दी"]),
        ("แมว -หมา", "แมว", ["หมา"]),
        ("🦊 -circle", "🦊", ["circle"]),
    ],
)  # fmt: skip
def test_what_people_type(typed: str, text: str, negatives: list[str]) -> None:
    query = parse(typed, now=NOW)
    assert (query.text, [entry.text for entry in query.negatives]) == (text, negatives)


def test_terms_are_pairs_that_belong_together() -> None:
    query = parse('two red circles above a blue square, "old town"', now=NOW)
    assert [entry.words for entry in query.terms] == [("red", "circle"), ("blue", "square"), ("old", "town")]


def test_filters_in_the_text_join_those_beside_it() -> None:
    query = parse(
        "circle feed:lobby label:Star since:2h", now=NOW, filters=Filters(feeds=("yard",)), without=["red square"]
    )
    assert query.filters == Filters(("yard", "lobby"), ("Star",), NOW - timedelta(hours=2))
    assert [entry.text for entry in query.negatives] == ["red square"]


@pytest.mark.parametrize(
    ("typed", "filters"),
    [
        ('label:"red square"', Filters(labels=("red square",))),
        ('label: " red  square "', Filters(labels=("red square",))),
        ("label:circle,star", Filters(labels=("circle", "star"))),
        ('LABEL:circle,"red square",star.', Filters(labels=("circle", "red square", "star"))),
        ("label:circle label:star", Filters(labels=("circle", "star"))),
        ('feed:"left right",yard', Filters(feeds=("left right", "yard"))),
        ("feed:“left right”", Filters(feeds=("left right",))),
        ("feed:cam.1", Filters(feeds=("cam.1",))),
        ("-feed:lobby,yard", Filters(without_feeds=("lobby", "yard"))),
        ('—feed:"left right"', Filters(without_feeds=("left right",))),
        ("-label:star", Filters(without_labels=("star",))),
        ('-label:"red square"', Filters(without_labels=("red square",))),
        ('since:"2026-11-21 07:00"', Filters(since=NOW - timedelta(hours=1))),
    ],
)
def test_every_filter_takes_quoted_values_and_lists(typed: str, filters: Filters) -> None:
    query = parse(typed, now=NOW)
    assert query.filters == filters
    assert query.text == ""


def test_beside_the_text_a_value_may_be_a_list_and_holds_its_spaces() -> None:
    filters = parse_filters([" lobby , left right", ""], ['"red square",star'], "", " ", NOW)
    assert filters == Filters(feeds=("lobby", "left right"), labels=("red square", "star"))


@pytest.mark.parametrize("typed", ["circle label:", 'circle feed:""', "feed:,", "since:2h,3h", "-until:2h circle"])
def test_a_filter_without_a_value_that_it_takes_is_refused(typed: str) -> None:
    with pytest.raises(BadQuery, match=r"value|one time"):
        parse(typed, now=NOW)


def test_what_would_take_too_long_is_refused() -> None:
    for feeds in (["x" * 201], [",".join(map(str, range(101)))]):
        with pytest.raises(BadQuery, match="at most"):
            parse_filters(feeds, [], "", "", NOW)
    with pytest.raises(BadQuery, match="negatives"):
        parse("circle", now=NOW, without=[f"x{number}" for number in range(33)])


@pytest.mark.parametrize("like", ["zzz", "1", "496f27ce", "../x"])
def test_what_is_no_pictures_id_is_refused(like: str) -> None:
    with pytest.raises(BadQuery, match="is no picture's id"):
        parse("", now=NOW, like=like)


@pytest.mark.parametrize("typed", ["", "   ", "no", "but without", "...", "-since:2h circle", "since:soon circle"])
def test_a_query_that_cannot_be_parsed_is_refused(typed: str) -> None:
    with pytest.raises(BadQuery):
        parse(typed, now=NOW)


def test_filters_of_empty_text_set_no_condition() -> None:
    assert parse_filters(["", "lobby"], [], "2h", "", NOW) == Filters(feeds=("lobby",), since=NOW - timedelta(hours=2))
    assert parse_filters([], [""], "", "", NOW) == Filters()
    with pytest.raises(BadQuery, match="is no time"):
        parse_filters([], [], "soon", "", NOW)


def test_times() -> None:
    assert parse_time("2026-11-21", NOW) == datetime(2026, 11, 21, tzinfo=UTC)
    assert parse_time("2026-11-21T10:00+02:00", NOW) == NOW
    with pytest.raises(BadQuery):
        parse_time("99999999999d", NOW)


def test_what_is_typed_as_logic_is_named() -> None:
    for typed, notes in (
        ("circle OR square", (OR_NOTE,)),
        ("a (red) circle or a square", (OR_NOTE, PARENTHESES_NOTE)),
        ('circle "(square)"', ()),
        ("a photo without squares, stars or circles", ()),
    ):
        assert parse(typed, now=NOW).notes == notes, typed
