"""Words of captions and labels as filters compare them: one tokenizer for texts that are stored and for queries.

"without circles" has to find "a red circle", and "-red square" must not find "a red circle and a blue square":
so words lose case and plural, and pairs are adjacent words of one phrase.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import pairwise

_PHRASE = re.compile(r"[.,;:!?()\[\]\n]+")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_JOINERS = frozenset("\u200c\u200d")
"""They shape letters within a word of Persian or an Indic script."""
_APOSTROPHE = re.compile("['’]")
_ARTICLES = frozenset({"a", "an", "the"})
"""They say nothing, and "a red circle" is the pair "red circle" with any article."""
_SIBILANTS = ("sses", "shes", "ches", "xes", "zes")
_NOT_PLURAL = ("ss", "us", "is")
CACHED_TEXTS = 1024
"""Labels and keywords repeat with every frame, and each text is split for its words and for its pairs."""


def singular(word: str) -> str:
    """English plurals only where the rule is safe: circles, boxes, crosses, ladies; not glass, bus, this."""
    if len(word) <= 3 or not word.endswith("s") or word.endswith(_NOT_PLURAL):
        return word
    if word.endswith(_SIBILANTS):
        return word[:-2]
    return f"{word[:-3]}y" if word.endswith("ies") and len(word) > 4 else word[:-1]


@lru_cache(CACHED_TEXTS)
def _phrases(text: str) -> tuple[tuple[str, ...], ...]:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return tuple([_words_of(phrase) for phrase in _PHRASE.split(folded)])


def _words_of(phrase: str) -> tuple[str, ...]:
    spelled = [_APOSTROPHE.split(word, 1)[0] for word in _spelled(phrase)]
    return tuple([singular(word) for word in spelled if word not in _ARTICLES])


def _spelled(phrase: str) -> list[str]:
    """Marks (vowel signs, tones) and joiners after a letter belong to its word, though `re` takes them for its end."""
    if phrase.isascii():
        return _WORD.findall(phrase)
    letters: list[str] = []
    for letter in phrase:
        extends = letter in _JOINERS or unicodedata.category(letter).startswith("M")
        letters.append("x" if extends and letters and letters[-1].isalnum() else letter)
    return [phrase[slice(*match.span())] for match in _WORD.finditer("".join(letters))]


def words(text: str) -> tuple[str, ...]:
    """Distinct words in order of appearance: lower case, singular, without articles."""
    return tuple(dict.fromkeys(word for phrase in _phrases(text) for word in phrase))


def pairs(text: str) -> tuple[str, ...]:
    """Distinct pairs of adjacent words within a phrase, as "red circle"."""
    adjacent = (f"{left} {right}" for phrase in _phrases(text) for left, right in pairwise(phrase))
    return tuple(dict.fromkeys(adjacent))
