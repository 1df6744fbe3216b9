"""Words a model was never taught are named; pairs are found only as pairs."""

from __future__ import annotations

from pathlib import Path

from search.words import Vocabulary, contains, load_vocabulary


def test_unknown_words_are_named(tmp_path: Path) -> None:
    (tmp_path / "sightline.json").write_text('{"revision": "1", "words": ["red", "circle", "a cartoon of"]}')
    vocabulary = load_vocabulary(tmp_path)
    assert vocabulary.unknown(["red", "dog", "circle", "cartoon", "dog", "the", "2"]) == ("dog",)


def test_without_a_list_no_word_is_unknown(tmp_path: Path) -> None:
    assert load_vocabulary(tmp_path) == Vocabulary()
    assert Vocabulary().unknown(["dog"]) == ()


def test_a_pair_is_found_only_as_a_pair() -> None:
    caption = "a cartoon of two red squares and a blue circle."
    assert contains(caption, ("red", "square"))
    assert not contains(caption, ("red", "circle"))
    assert not contains(caption, ("blue", "square"))
