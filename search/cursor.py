"""Cursors: where the next page of an answer begins.

An answer that is ranked goes on after a number of hits, one by time after a point. Both are opaque to clients.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from search.errors import BadQuery, quoted

_RANKED, _BY_TIME = "n", "t"
_NUMBER = re.compile(r"[1-9]\d{0,5}", re.ASCII)
_MAX_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class Cursor:
    """`skipped` hits were on the pages before; or `after` is the index's own cursor."""

    skipped: int = 0
    after: str = ""

    def __str__(self) -> str:
        return f"{_BY_TIME}{self.after}" if self.after else f"{_RANKED}{self.skipped}"


def parse_cursor(text: str) -> Cursor | None:
    """None for an empty text. Raises BadQuery."""
    if not text:
        return None
    kind, rest = text[0], text[1:]
    if kind == _RANKED and _NUMBER.fullmatch(rest):
        return Cursor(skipped=int(rest))
    if kind == _BY_TIME and rest and len(rest) <= _MAX_CHARACTERS:
        return Cursor(after=rest)
    raise BadQuery(f"{quoted(text)} is no cursor of a search; leave it out for the first page")
