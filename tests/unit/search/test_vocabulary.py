"""Words that a model was not trained on are named; words that belong together stay together."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.vocabulary import Vocabulary, content_terms, load_vocabulary, spellings


def test_unknown_words_are_named(tmp_path: Path) -> None:
    (tmp_path / "sightline.json").write_text('{"revision": "1", "words": ["red", "circle", "a cartoon of"]}')
    vocabulary = load_vocabulary(tmp_path)
    assert vocabulary.unknown(["red", "dog", "circle", "cartoon", "dog", "with", "2", "two"]) == ("dog", "2", "two")


def test_without_a_list_no_word_is_unknown(tmp_path: Path) -> None:
    assert load_vocabulary(tmp_path) == Vocabulary()
    assert Vocabulary().unknown(["dog"]) == ()


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("a red circle", "a red circle"),
        ("show me two Red Circles, please", "red circle"),
        ("a picture of a red circle", "a red circle"),
        ("a red dog and a blue circle", "a blue circle"),
        ("a cartoon of a red circle above the blue circle", "a cartoon of a red circle above the blue circle"),
        ("a cartoon with red circles", "a cartoon and red circle"),
        ("a dog", ""),
        ("", ""),
    ],
)
def test_a_model_reads_only_words_it_was_trained_on(typed: str, read: str) -> None:
    known = Vocabulary(frozenset({"red", "blue", "circle", "cartoon", "above", "of", "and"}))
    assert known.readable(typed) == read
    assert Vocabulary().readable(typed) == typed


def test_terms_end_at_function_words() -> None:
    parts = ["two", "red", "circles", "and", "the", "blue", "square", ",", "star", "old town", "tree"]
    expected = (("red", "circle"), ("blue", "square"), ("star",), ("old", "town"), ("tree",))
    assert content_terms(parts) == expected


def test_people_are_persons() -> None:
    assert set(spellings(("old", "people"))) == {("old", "people"), ("old", "person")}
    assert ("bus",) in spellings(("buse",))


def test_what_stands_beside_an_unknown_word_is_kept_if_it_says_enough() -> None:
    vocabulary = Vocabulary(words=frozenset({"red", "circle", "blue", "square", "and", "a"}))
    assert vocabulary.readable("red circle label") == "red circle"
    assert vocabulary.readable("a red dog and a blue square") == "a blue square"
    assert vocabulary.readable("red circle label blue square") == "red circle and blue square"
