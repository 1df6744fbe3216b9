"""The tokens of a query: words, quoted phrases, stops and filters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from search.errors import BadQuery

FILTERS = ("feed", "label", "since", "until")
NEGATIONS = frozenset(
    {"no", "not", "without", "except", "excluding", "minus", "nor", "neither", "never", "w/o", "0", "zero"}
)
_CONTRACTED = re.compile(r".+n['’]t")
_MINUS = "[-‐‑−–—―]+"
"""Every dash that a keyboard or a text editor puts there."""
_QUOTES = str.maketrans(dict.fromkeys("“”„‟«»", '"'))
_JOINING_DASH = re.compile(r"(?<=\w)[—―](?=\w)")
"""A dash between two words of a sentence ("a red circle—no squares") parts them as a comma does."""
_WORD = r'[^\s",;]+?(?=[.!?]*(?:[\s",;]|$))'
_VALUE = re.compile(r'"(?P<quoted>[^"]*)"|(?P<plain>[^,"]+)')
_ANY_VALUE = rf'(?:"[^"]*"|{_WORD})'
_TOKEN = re.compile(
    rf"""(?<![^\s,;"])(?P<filter_minus>{_MINUS})?(?P<name>(?i:{"|".join(FILTERS)})):\s*
             (?P<values>{_ANY_VALUE}(?:,{_ANY_VALUE})*)
       | (?P<minus>(?<!\S){_MINUS}(?=\S))?
             (?: "(?P<quoted>[^"]*)" | (?P<stop>[,;.!?]+(?=\s|$)|[,;]) | (?P<word>{_WORD}) )""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Token:
    """`text` is a filter's name, whose `values` are alternatives."""

    kind: Literal["word", "quoted", "stop", "filter"]
    text: str
    minus: bool = False
    values: tuple[str, ...] = ()

    @property
    def folded(self) -> str:
        return self.text.casefold() if self.kind == "word" else ""

    @property
    def negates(self) -> bool:
        return self.folded in NEGATIONS or bool(_CONTRACTED.fullmatch(self.folded))


def tokens(text: str) -> Iterator[Token]:
    """Raises BadQuery for a filter without a value."""
    text = unicodedata.normalize("NFKC", text).translate(_QUOTES)
    if text.count('"') % 2:
        text = " ".join(text.rsplit('"', 1))
    for match in _TOKEN.finditer(text):
        minus = match["minus"] is not None
        if match["name"] is not None:
            yield _filter(match["name"].casefold(), match["values"], minus=match["filter_minus"] is not None)
        elif match["quoted"] is not None:
            yield Token("quoted", " ".join(match["quoted"].split()), minus)
        elif match["stop"] is not None:
            yield Token("stop", ",")
        else:
            yield from _words(match["word"], minus=minus)


def _words(word: str, *, minus: bool) -> Iterator[Token]:
    """One token, unless the word holds nothing but punctuation; a dash within a sentence parts two."""
    name, colon, rest = word.partition(":")
    if colon and not rest and name.casefold() in FILTERS:
        raise BadQuery(f"{name.casefold()}: has no value; write {name.casefold()}:VALUE")
    for number, part in enumerate(_JOINING_DASH.split(word)):
        if number:
            yield Token("stop", ",")
        if has_meaning(part):
            yield Token("word", part, minus and not number)


def has_meaning(word: str) -> bool:
    """Whether it holds a letter, a digit or a symbol such as an emoji."""
    return is_symbol(word) or any(letter.isalnum() for letter in word)


def is_symbol(word: str) -> bool:
    """Whether it holds a symbol such as an emoji, and neither a letter nor a digit."""
    categories = {unicodedata.category(letter) for letter in word}
    return "So" in categories and not any(letter.isalnum() for letter in word)


def _filter(name: str, typed: str, *, minus: bool) -> Token:
    contained = values(typed)
    if not contained:
        raise BadQuery(f"{name}: has no value; write {name}:VALUE")
    return Token("filter", name, minus, contained)


def values(typed: str) -> tuple[str, ...]:
    """The values of a list such as `circle,"red square"`, without spaces at their ends; empty ones are left out."""
    typed = typed.translate(_QUOTES)
    parts = (match["plain"] if match["quoted"] is None else match["quoted"] for match in _VALUE.finditer(typed))
    return tuple(part for part in (" ".join(part.split()) for part in parts) if part)
