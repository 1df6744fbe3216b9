"""What the models can read of a query, and what is left of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from schemas.words import words
from search.query import Filters, Query, Term
from search.tokens import is_symbol
from search.vocabulary import Vocabulary, has_content, is_number


@dataclass(frozen=True, slots=True)
class Reading:
    """`query` in words that the models know; its text is empty where it holds function words alone."""

    query: Query
    unknown: tuple[str, ...] = ()
    """What was typed and is not understood: words, numbers and symbols, in order."""
    nothing_left: bool = False
    """Whether the query says nothing that can be looked for, and no filter either."""


def read(query: Query, vocabulary: Vocabulary) -> Reading:
    text = vocabulary.readable(query.text)
    if not has_content(text):
        text = ""
    unread = _unknown(query.text, vocabulary)
    negatives = _readable(query.negatives, vocabulary)
    unknown = (*unread, *vocabulary.unknown(word for negative in query.negatives for word in negative.words))
    known = replace(query, text=text, negatives=negatives)
    return Reading(known, tuple(dict.fromkeys(unknown)), _is_nothing(known, typed=query.text, unread=bool(unread)))


def _unknown(text: str, vocabulary: Vocabulary) -> tuple[str, ...]:
    """Of the positive part: words that the models were not trained on, and what holds no word, such as an emoji."""
    if not vocabulary.words:
        return ()
    pieces = text.replace(",", " ").split()
    found = [(piece,) if is_symbol(piece) else words(piece) for piece in pieces]
    return vocabulary.unknown(word for contained in found for word in contained)


def _readable(negatives: tuple[Term, ...], vocabulary: Vocabulary) -> tuple[Term, ...]:
    """Without numbers that the models do not know: "no 2 red circles" leaves out red circles."""
    kept = [tuple(w for w in each.words if vocabulary.knows(w) or not is_number(w)) for each in negatives]
    return tuple(
        each if contained == each.words else Term(" ".join(contained), contained)
        for each, contained in zip(negatives, kept, strict=True)
        if contained
    )


def _is_nothing(known: Query, *, typed: str, unread: bool) -> bool:
    if known.text or known.image is not None or known.like:
        return False
    if typed and unread:
        return True
    return not known.negatives and known.filters == Filters()
