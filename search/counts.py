"""Numbers in a query: "2 red circles" wants pictures in which the detector found two circles.

The last words of what is counted have to be a label of the index. "2 circles" is exactly two; of "2 red circles" the
index knows how many circles there are and not how many of them are red, so it is at least two.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from schemas.words import words
from search.names import folded_label
from search.vocabulary import NUMBERS, STOPWORDS, is_number, plural
from stores.index import Hit


@dataclass(frozen=True, slots=True)
class Phrase:
    """A number as typed (`2`, `two`), and the words that follow it, in the form of `schemas.words`."""

    typed: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Count:
    """A condition on the number of detections with a label, in any of the label's folded forms."""

    typed: str
    number: int
    label: str
    forms: frozenset[str]
    is_exact: bool

    def __str__(self) -> str:
        return f"{'' if self.is_exact else 'at least '}{self.number} {plural(self.label, self.number)}"

    def holds(self, hit: Hit) -> bool:
        detections: Sequence[Mapping[str, str]] = hit.payload.get("detections") or ()
        found = sum(bool(self.forms & folded_label(detection.get("label", ""))) for detection in detections)
        return found == self.number if self.is_exact else found >= self.number


def phrases(text: str) -> list[Phrase]:
    """What a query's text counts."""
    return list(_phrases(text.replace(",", " , ").split()))


def _phrases(pieces: Sequence[str]) -> Iterator[Phrase]:
    for place, piece in enumerate(pieces):
        contained = words(piece)
        if len(contained) != 1 or not is_number(contained[0]):
            continue
        run: list[str] = []
        for following in pieces[place + 1 :]:
            content = words(following)
            if not content or any(word in STOPWORDS or is_number(word) for word in content):
                break
            run += content
        if run:
            yield Phrase(contained[0], tuple(run))


def counts(wanted: Sequence[Phrase], labels: Sequence[str]) -> list[Count]:
    """Those of `wanted` that can be counted, in an index with these labels."""
    by_form = {form: label for label in reversed(labels) for form in folded_label(label)}
    return [count for phrase in wanted if (count := _count(phrase, by_form)) is not None]


def _count(phrase: Phrase, labels: Mapping[str, str]) -> Count | None:
    number = NUMBERS.get(phrase.typed) or _integer(phrase.typed)
    for start in range(len(phrase.words)):
        label = labels.get(" ".join(phrase.words[start:]))
        if label is not None and number is not None:
            return Count(phrase.typed, number, label, folded_label(label), is_exact=start == 0)
    return None


def _integer(typed: str) -> int | None:
    """None for digits that are no number (`²`), and for more than a picture can hold."""
    return int(typed) if typed.isdecimal() and len(typed) <= 4 else None
