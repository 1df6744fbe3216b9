"""For any text, no negative is embedded and no positive term is lost."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.words import words
from search.query import MAX_CHARACTERS, BadQuery, parse, term
from search.tokens import NEGATIONS

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)
COLORS = ["red", "green", "blue", "cyan"]
SHAPES = ["circle", "square", "star", "cross", "box"]
kinds = st.builds(lambda color, shape: f"{color} {shape}", st.sampled_from(COLORS), st.sampled_from(SHAPES))
joints = st.sampled_from(
    [" but no {}", " without {}", ", but without a {}", " -{!r}", ", not a {}", " and no {}", " with no {}",
     " that has no {}", " except a {}", ", no {}", " that isn't a {}"]
)  # fmt: skip


def typed(joint: str, kind: str) -> str:
    return joint.replace("{!r}", '"{}"').format(kind)


@given(st.text(max_size=80))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        query = parse(text, now=NOW)
    except BadQuery:
        return
    assert all(entry.words for entry in (*query.terms, *query.negatives))
    if '"' not in text and "“" not in text and "”" not in text and "„" not in text:
        assert not NEGATIONS & set(query.text.casefold().replace(",", " ").split())


@given(kinds, st.lists(st.tuples(joints, kinds), min_size=1, max_size=4))
def test_negatives_are_terms_and_never_text(wanted: str, refused: list[tuple[str, str]]) -> None:
    text = f"a {wanted}" + "".join(typed(joint, kind) for joint, kind in refused)
    query = parse(text, now=NOW)
    assert query.text == f"a {wanted}"
    assert [entry.text for entry in query.terms] == [wanted]
    assert [entry.text for entry in query.negatives] == list(dict.fromkeys(kind for _, kind in refused))


@given(st.lists(kinds, min_size=2, max_size=4, unique=True), kinds)
def test_a_list_is_negated_as_a_whole(refused: list[str], wanted: str) -> None:
    for last in (" or ", ", or "):
        listed = ", ".join(refused[:-1]) + last + refused[-1]
        query = parse(f"a {wanted} without {listed}", now=NOW)
        assert query.text == f"a {wanted}"
        assert [entry.text for entry in query.negatives] == refused


@given(kinds, kinds)
def test_the_negative_may_come_first(refused: str, wanted: str) -> None:
    for text in (
        f"no {refused} but a {wanted}",
        f"no {refused}, a {wanted}",
        f"without a {refused} and with a {wanted}",
    ):
        query = parse(text, now=NOW)
        assert (query.text, [entry.text for entry in query.negatives]) == (f"a {wanted}", [refused])


@given(st.lists(st.sampled_from([*COLORS, *SHAPES, "a", "and", "above"]), min_size=1, max_size=8))
def test_without_negation_the_text_stays(parts: list[str]) -> None:
    query = parse(" ".join(parts), now=NOW)
    assert query.text == " ".join(parts)
    assert query.negatives == ()
    meaningful = [word for word in parts if word not in {"a", "and", "above"}]
    assert {word for entry in query.terms for word in entry.words} == set(meaningful)


@given(st.sampled_from(["circles", "boxes", "crosses", "berries"]))
def test_plurals_are_compared_as_singulars(word: str) -> None:
    assert parse(f"red {word} but no green {word}", now=NOW).negatives == (term(f"green {words(word)[0]}"),)


def test_a_long_text_is_refused() -> None:
    with pytest.raises(BadQuery, match="characters"):
        parse("x" * (MAX_CHARACTERS + 1), now=NOW)
