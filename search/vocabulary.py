"""Words of a query: which belong together, which other forms they have, and which a model was not trained on.

They are compared in the form of `schemas.words`, which the index uses for a picture's texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from msgspec import Struct

from processors.models.model_card import read_card
from schemas.words import words
from search.tokens import is_symbol

_IRREGULAR = {
    "people": "person", "men": "man", "women": "woman", "children": "child", "feet": "foot", "teeth": "tooth",
    "mice": "mouse", "geese": "goose", "knives": "knife", "wolves": "wolf", "leaves": "leaf", "buses": "bus",
}  # fmt: skip
"""Plurals that no rule covers: a query without people is a query without any person."""
_OTHER_FORM = {
    **{words(plural)[0]: singular for plural, singular in _IRREGULAR.items()},
    **{singular: words(plural)[0] for plural, singular in _IRREGULAR.items()},
}

NUMBERS = {
    name: number
    for number, name in enumerate(
        ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"), start=1
    )
}
_ARTICLES = frozenset({"a", "an", "the"})
_CONJUNCTIONS = frozenset({"and", "of", "is"})
STOPWORDS = frozenset(
    {
        "any", "some", "this", "that", "these", "those", "of", "on", "in", "at", "to", "by", "for", "from", "with",
        "and", "or", "but", "as", "is", "are", "was", "were", "be", "being", "has", "have", "having", "it", "its",
        "there", "which", "who", "i", "me", "my", "show", "find", "picture", "image", "frame", "all", "every",
        "above", "below", "over", "under", "beside", "next", "left", "right", "near", "behind", "before", *NUMBERS,
    }
)  # fmt: skip
"""Function words: a term ends at them, and a model need not have been trained on them."""


def content_terms(parts: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Runs of words that carry meaning ("red circle"), split at function words, numbers and quoted phrases."""
    terms: list[tuple[str, ...]] = []
    run: tuple[str, ...] = ()
    for part in [*parts, ""]:
        kept = tuple(word for word in words(part) if word not in STOPWORDS and not is_number(word))
        if kept and " " not in part:
            run += kept
            continue
        terms += [term for term in (run, kept) if term]
        run = ()
    return tuple(dict.fromkeys(terms))


def plural(label: str, number: int) -> str:
    """The label as `number` of it are named in English: "2 traffic lights"."""
    first, last = label[: -len(label.split(" ")[-1])], label.split(" ")[-1]
    if number == 1 or not last:
        return label
    irregular = next((several for several, one in _IRREGULAR.items() if one == last), "")
    return first + (irregular or f"{last}{'es' if last.endswith(('s', 'x', 'z', 'ch', 'sh')) else 's'}")


def is_number(word: str) -> bool:
    """Whether it counts something: `2`, `two`."""
    return word in NUMBERS or word.isdigit()


def has_content(text: str) -> bool:
    """Whether a model can look for it: it holds more than function words; a symbol such as an emoji counts."""
    return any(map(is_symbol, text.split())) or any(word not in STOPWORDS for word in words(text))


def spellings(term: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """The term with each word in the forms it may have in the index: ("person",) is also ("people",)."""
    prefixes: list[tuple[str, ...]] = [()]
    for word in term:
        forms = (word, _OTHER_FORM[word]) if word in _OTHER_FORM else (word,)
        prefixes = [(*prefix, form) for prefix in prefixes for form in forms]
    return tuple(prefixes)


class Vocabulary(Struct, frozen=True):
    """The words a model was trained on; empty where they are not stated, and then every word is known."""

    words: frozenset[str] = frozenset()

    def unknown(self, words: Iterable[str]) -> tuple[str, ...]:
        """Those of `words` that the model was not trained on, in order; numbers are among them, function words not."""
        return tuple(dict.fromkeys(word for word in words if not self.knows(word)))

    def knows(self, word: str) -> bool:
        return not self.words or word in self.words or (word in STOPWORDS and not is_number(word))

    def readable(self, text: str) -> str:
        """The text in words that the model knows.

        Plurals become singular, unknown words and numbers are left out, and unknown function words become "and". An
        unknown token would distort the vector of the words beside it. A single known word beside an unknown one is left
        out with it: "red" alone is not what "a red dog" asks for, but "red circle" is a part of "red circle label".
        """
        if not self.words:
            return text
        kept: list[str] = []
        run: list[str] = []
        for piece in [*text.replace(",", " , ").split(), ""]:
            contained = words(piece)
            if contained and not any(self._parts(word) for word in contained):
                run.append(piece)
                continue
            kept += self._known_parts([word for content in run for word in words(content)])
            run = []
            if piece.casefold() in {*self.words, *_ARTICLES}:
                kept.append(piece.casefold())
            elif not contained or not all(map(is_number, contained)):
                kept.append("and")
        return " ".join(_connected(kept))

    def _parts(self, word: str) -> bool:
        """Whether a run ends at it."""
        return word in STOPWORDS or (is_number(word) and word not in self.words)

    def _known_parts(self, run: Sequence[str]) -> list[str]:
        """The run itself, or what it has of two and more known words in a row, joined by "and"."""
        if all(word in self.words for word in run):
            return list(run)
        parts = [list(part) for known, part in groupby(run, self.words.__contains__) if known]
        return ["and", *(word for part in parts if len(part) > 1 for word in (*part, "and"))]


def _connected(pieces: Iterable[str]) -> list[str]:
    """`pieces` without articles that nothing follows and conjunctions that join nothing."""
    kept: list[str] = []
    for piece in pieces:
        if kept and kept[-1] in _ARTICLES and piece in _CONJUNCTIONS | _ARTICLES:
            kept.pop()
        if piece in _CONJUNCTIONS and (not kept or kept[-1] in _CONJUNCTIONS):
            continue
        kept.append(piece)
    while kept and kept[-1] in _CONJUNCTIONS | _ARTICLES:
        kept.pop()
    return kept


def load_vocabulary(folder: Path) -> Vocabulary:
    """From the model card beside the weights; empty where there is none or it names no words. Raises `WrongWeights`."""
    card = read_card(folder)
    return Vocabulary(frozenset(word for entry in card.words for word in words(entry)) if card else frozenset())
