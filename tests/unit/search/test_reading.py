"""What the models can read of a query: the rest is named, and a query of which nothing is left shows nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from search.counts import counts, phrases
from search.query import parse
from search.reading import read
from search.vocabulary import Vocabulary

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)
SMALL = Vocabulary(frozenset({"a", "the", "of", "and", "above", "photo", "cartoon", "red", "circle", "square"}))


@pytest.mark.parametrize(
    ("typed", "text", "unknown"),
    [
        ("2 red circles", "red circle", ("2",)),
        ("two red circles", "red circle", ("two",)),
        ("five red circles above 12 squares", "red circle above square", ("five", "12")),
        ("3 squares but no circle", "square", ("3",)),
        ("circle, 100%", "circle", ("100",)),
        ("a red circle 🦊", "a red circle", ("🦊",)),
        ('"🦊" red circle', "red circle", ("🦊",)),
        ("a circle but no 2 red squares", "a circle", ("2",)),
        ("a circle but no 42", "a circle", ("42",)),
    ],
)
def test_what_is_not_understood_is_named_and_the_rest_stays(typed: str, text: str, unknown: tuple[str, ...]) -> None:
    reading = read(parse(typed, now=NOW), SMALL)
    assert (reading.query.text, reading.unknown, reading.nothing_left) == (text, unknown, False)
    assert not any(word.isdigit() for negative in reading.query.negatives for word in negative.words)


@pytest.mark.parametrize(
    ("typed", "unknown"),
    [("42", ("42",)), ("100%", ("100",)), ("the", ()), ("show me", ()), ('"🦊"', ("🦊",)), ("🦊", ("🦊",)),
     ("above", ()), ("a picture of", ()), ("seven", ("seven",)), ("42 but no circle", ("42",)),
     ("a dog feed:lobby", ("dog",))],
)  # fmt: skip
def test_a_query_of_which_nothing_is_left(typed: str, unknown: tuple[str, ...]) -> None:
    reading = read(parse(typed, now=NOW), SMALL)
    assert (reading.nothing_left, reading.unknown, reading.query.text) == (True, unknown, "")


@pytest.mark.parametrize("typed", ["show me all feed:lobby", "show me no squares", "no square", "the -circle"])
def test_function_words_beside_a_filter_or_a_negative_say_nothing(typed: str) -> None:
    reading = read(parse(typed, now=NOW), SMALL)
    assert (reading.nothing_left, reading.query.text, reading.unknown) == (False, "", ())


@pytest.mark.parametrize(
    ("typed", "nothing"),
    [("42", False), ("🦊", False), ("route 66", False), ("the", True), ("show me", True), ("नदी", False)],
)
def test_models_of_an_open_vocabulary_read_numbers_and_symbols(typed: str, nothing: bool) -> None:  # noqa: FBT001
    reading = read(parse(typed, now=NOW), Vocabulary())
    assert (reading.nothing_left, reading.unknown) == (nothing, ())
    assert reading.query.text == ("" if nothing else typed)


def test_numbers_are_counted_by_the_labels_of_the_index() -> None:
    labels = ["circle", "traffic light", "person"]
    wanted = phrases("2 red circles, three traffic lights and 4 people above five dogs in 2026")
    assert [str(count) for count in counts(wanted, labels)] == ["at least 2 circles", "3 traffic lights", "4 people"]
    assert counts(phrases("12345 circles and a circle"), labels) == []
