"""Words of a query: which belong together, which other forms they have, and which a model was never taught.

They are compared in the form of `schemas.words`, in which the index holds what is said of a picture.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec import Struct

from schemas.words import words

_IRREGULAR = {
    "people": "person", "men": "man", "women": "woman", "children": "child", "feet": "foot", "teeth": "tooth",
    "mice": "mouse", "geese": "goose", "knives": "knife", "wolves": "wolf", "leaves": "leaf", "buses": "bus",
}  # fmt: skip
"""Plurals that no rule finds: whoever leaves out people wants no person either."""
_OTHER_FORM = {
    **{words(many)[0]: one for many, one in _IRREGULAR.items()},
    **{one: words(many)[0] for many, one in _IRREGULAR.items()},
}

_ARTICLES = frozenset({"a", "an", "the"})
_JOINTS = frozenset({"and", "of", "is"})
STOPWORDS = frozenset(
    {
        "any", "some", "this", "that", "these", "those", "of", "on", "in", "at", "to", "by", "for", "from", "with",
        "and", "or", "but", "as", "is", "are", "was", "were", "be", "being", "has", "have", "having", "it", "its",
        "there", "which", "who", "i", "me", "my", "show", "find", "picture", "image", "frame", "all", "every",
        "above", "below", "over", "under", "beside", "next", "left", "right", "near", "behind", "before", "two",
        "three", "four", "one",
    }
)  # fmt: skip
"""Words that join others: a term ends at them, and a model need not have been taught them."""


def content_terms(parts: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Runs of words that carry meaning ("red circle"), cut at parts that only join and at quoted phrases."""
    terms: list[tuple[str, ...]] = []
    run: tuple[str, ...] = ()
    for part in [*parts, ""]:
        kept = tuple(word for word in words(part) if word not in STOPWORDS)
        if kept and " " not in part:
            run += kept
            continue
        terms += [found for found in (run, kept) if found]
        run = ()
    return tuple(dict.fromkeys(terms))


def spellings(term: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """The term with each word in the forms it may have in the index: ("person",) is also ("people",)."""
    found: list[tuple[str, ...]] = [()]
    for word in term:
        choices = (word, _OTHER_FORM[word]) if word in _OTHER_FORM else (word,)
        found = [(*before, choice) for before in found for choice in choices]
    return tuple(found)


class Vocabulary(Struct, frozen=True):
    """The words a model was trained on; empty means that nobody said, and then every word passes."""

    words: frozenset[str] = frozenset()

    def unknown(self, asked: Iterable[str]) -> tuple[str, ...]:
        """Those of the words that the model was never taught, in order."""
        if not self.words:
            return ()
        return tuple(dict.fromkeys(w for w in asked if w not in self.words and w not in STOPWORDS and not w.isdigit()))

    def readable(self, text: str) -> str:
        """The text in words that the model knows: plurals singular, a run with an unknown word left out, words that
        only join exchanged for "and". An unknown token would spoil the vector of everything beside it."""
        if not self.words:
            return text
        kept: list[str] = []
        run: list[str] = []
        for piece in [*text.replace(",", " , ").split(), ""]:
            found = words(piece)
            if found and not any(word in STOPWORDS for word in found):
                run.append(piece)
                continue
            kept += [word for content in run for word in words(content)] if not self._strange(run) else ["and"]
            run = []
            kept.append(piece.casefold() if piece.casefold() in {*self.words, *_ARTICLES} else "and")
        return " ".join(_connected(kept))

    def _strange(self, run: Iterable[str]) -> bool:
        return any(word not in self.words for piece in run for word in words(piece))


def _connected(pieces: Iterable[str]) -> list[str]:
    """Without articles that nothing follows and joints that join nothing."""
    kept: list[str] = []
    for piece in pieces:
        if kept and kept[-1] in _ARTICLES and piece in _JOINTS | _ARTICLES:
            kept.pop()
        if piece in _JOINTS and (not kept or kept[-1] in _JOINTS):
            continue
        kept.append(piece)
    while kept and kept[-1] in _JOINTS | _ARTICLES:
        kept.pop()
    return kept


class _Card(Struct):
    words: tuple[str, ...] = ()


def load_vocabulary(folder: Path) -> Vocabulary:
    """From `sightline.json` beside the weights; empty where there is none or it names no words."""
    path = folder / "sightline.json"
    if not path.exists():
        return Vocabulary()
    card = msgspec.json.decode(path.read_bytes(), type=_Card)
    return Vocabulary(frozenset(word for entry in card.words for word in words(entry)))
