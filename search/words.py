"""Words: how they are compared, which carry meaning, and which a model was never taught.

Only English, and only as much of it as keeps "squares" and "square" together. Nothing is guessed: a word that no
rule knows stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

_WORD = re.compile(r"[^\W_]+(?:[-'’][^\W_]+)*")
_PARTS = re.compile(r"[.,;:!?]+(?:\s|$)")
_IRREGULAR = {
    "people": "person", "men": "man", "women": "woman", "children": "child", "feet": "foot", "teeth": "tooth",
    "mice": "mouse", "geese": "goose", "knives": "knife", "wolves": "wolf", "leaves": "leaf", "buses": "bus",
    "gases": "gas", "lenses": "lens",
}  # fmt: skip
_FOREVER = frozenset({"gas", "bus", "lens", "always", "this", "news", "scissors", "glasses", "jeans", "stairs", "his"})
"""Words in -s that are their own singular."""

ARTICLES = frozenset({"a", "an", "the", "any", "some"})
STOPWORDS = ARTICLES | frozenset(
    {
        "this", "that", "these", "those", "of", "on", "in", "at", "to", "by", "for", "from", "with", "and",
        "or", "but", "as", "is", "are", "was", "were", "be", "being", "has", "have", "having", "it", "its",
        "there", "which", "who", "i", "me", "my", "show", "find", "picture", "image", "images", "pictures",
        "frame", "frames", "all", "every", "above", "below", "over", "under", "beside", "next", "left",
        "right", "near", "behind", "before", "two", "three", "four", "one"
    }
)  # fmt: skip
"""Words that join others: a term ends at them, and no caption is compared by them."""


def words(text: str) -> list[str]:
    """The words of a text in lower case, as they are written."""
    return _WORD.findall(text.casefold().replace("’", "'"))


def singular(word: str) -> str:
    """`word` (lower case) in the singular, by rule."""
    word = word.removesuffix("'s")
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word in _FOREVER or len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    if word.endswith(("sses", "shes", "ches", "xes", "zzes")):
        return word[:-2]
    return word[:-1]


def forms(text: str) -> list[str]:
    """The words of a text as they are compared: lower case and singular."""
    return [singular(word) for word in words(text)]


def plural(word: str) -> str:
    """The plural that `singular` leads back from, so that an index of plain words can be asked for both."""
    for many, one in _IRREGULAR.items():
        if one == word:
            return many
    if word.endswith(("s", "sh", "ch", "x", "z")):
        return f"{word}es"
    return f"{word[:-1]}ies" if len(word) > 2 and word.endswith("y") and word[-2] not in "aeiou" else f"{word}s"


def content_terms(parts: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Runs of words that carry meaning ("red circle"), cut at commas and at words that only join."""
    terms: list[tuple[str, ...]] = []
    run: list[str] = []
    for part in [*parts, ""]:
        found = forms(part)
        if len(found) == 1 and found[0] not in STOPWORDS:
            run.append(found[0])
            continue
        terms += [tuple(run)] if run else []
        run = []
        kept = tuple(word for word in found if word not in STOPWORDS)
        terms += [kept] if kept else []
    return tuple(dict.fromkeys(terms))


def contains(text: str, term: Sequence[str]) -> bool:
    """Whether the words of `term` (compared forms) stand one after the other in a sentence or part of the text."""
    wanted = tuple(word for word in term if word not in ARTICLES)
    return any(_follows(part, wanted) for part in _PARTS.split(text))


def _follows(part: str, wanted: tuple[str, ...]) -> bool:
    found = [word for word in forms(part) if word not in ARTICLES]
    return any(tuple(found[place : place + len(wanted)]) == wanted for place in range(len(found)))


class Vocabulary(Struct, frozen=True):
    """The words a model was trained on; empty means that nobody said, and then every word passes."""

    words: frozenset[str] = frozenset()

    def unknown(self, asked: Iterable[str]) -> tuple[str, ...]:
        """Those of the words (compared forms) that the model was never taught, in order."""
        if not self.words:
            return ()
        return tuple(dict.fromkeys(w for w in asked if w not in self.words and w not in STOPWORDS and not w.isdigit()))


class _Card(Struct):
    words: tuple[str, ...] = ()


def load_vocabulary(folder: Path) -> Vocabulary:
    """From `sightline.json` beside the weights; empty where there is none or it names no words."""
    path = folder / "sightline.json"
    if not path.exists():
        return Vocabulary()
    card = msgspec.json.decode(path.read_bytes(), type=_Card)
    return Vocabulary(frozenset(form for entry in card.words for form in forms(entry)))
