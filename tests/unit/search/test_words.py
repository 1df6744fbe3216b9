"""Words a model was never taught are named; what belongs together stays together."""

from __future__ import annotations

from pathlib import Path

from search.words import Vocabulary, content_terms, load_vocabulary, spellings


def test_unknown_words_are_named(tmp_path: Path) -> None:
    (tmp_path / "sightline.json").write_text('{"revision": "1", "words": ["red", "circle", "a cartoon of"]}')
    vocabulary = load_vocabulary(tmp_path)
    assert vocabulary.unknown(["red", "dog", "circle", "cartoon", "dog", "with", "2"]) == ("dog",)


def test_without_a_list_no_word_is_unknown(tmp_path: Path) -> None:
    assert load_vocabulary(tmp_path) == Vocabulary()
    assert Vocabulary().unknown(["dog"]) == ()


def test_terms_end_where_words_only_join() -> None:
    parts = ["two", "red", "circles", "and", "the", "blue", "square", ",", "star", "old town", "tree"]
    expected = (("red", "circle"), ("blue", "square"), ("star",), ("old", "town"), ("tree",))
    assert content_terms(parts) == expected


def test_people_are_persons() -> None:
    assert set(spellings(("old", "people"))) == {("old", "people"), ("old", "person")}
    assert ("bus",) in spellings(("buse",))
