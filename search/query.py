"""The query grammar: "a red circle, but no square" is a text to search for and a term to exclude.

Models like CLIP are near chance on negation. So `Query.text`, which is embedded, never contains a negative; each
negative becomes a `Term` instead:

    a red circle, but no square           text "a red circle", without "square"
    a photo without squares, stars or a blue circle       three negatives
    circle -square -"red star"            a dash before a word or a quoted phrase
    a picture that is not a cartoon       without "cartoon"
    no squares but a red circle           "but" ends a negative, and so does a comma unless "or" follows
    "no parking" sign                     quoted words are taken literally
    circle feed:lobby label:circle since:2h until:2026-11-21

Several words negated together are one term: "no red square" leaves out red squares, not red circles.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from schemas.words import words
from search.vocabulary import content_terms

MAX_CHARACTERS = 1000
"""Far above the length of a text tower (77 tokens) and far below what would cost noticeable time."""
MAX_LIMIT = 200

NEGATIONS = frozenset({"no", "not", "without", "except", "excluding", "minus", "nor", "neither", "never", "w/o"})
_CONTRACTED = re.compile(r".+n['’]t")
_LEADS = frozenset(
    {"but", "and", "or", "with", "that", "which", "who", "is", "are", "was", "were", "has", "have", "having",
     "there", "it", "contains", "containing", "does", "do"}
)  # fmt: skip
"""Words before a negation ("… that has no …") or after one, which carry no meaning without it."""
_FILTERS = ("feed", "label", "since", "until")
_TOKEN = re.compile(
    r"""(?P<minus>(?<!\S)[-−–]+(?=\S))?
        (?: "(?P<quoted>[^"]*)" | (?P<stop>[,;.!?]+(?=\s|$)|[,;]) | (?P<word>[^\s",;]+?)(?=[.!?]*(?:[\s",;]|$)) )""",
    re.VERBOSE,
)
_SPAN = re.compile(r"(\d+)\s*([smhdw])")
_SPANS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class BadQuery(ValueError):  # noqa: N818 - named for the state
    """The query cannot be understood; the message shows one that can."""


@dataclass(frozen=True, slots=True)
class Term:
    """One word or a phrase that belongs together; `words` are in the form of `schemas.words`."""

    text: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Filters:
    """Conditions beside the content; several feeds or labels are alternatives. Times are aware, UTC."""

    feeds: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """`text` is embedded and holds no negative; an empty text with negatives means everything but those.

    `image` is an encoded picture to search for, as uploaded; `like` is the id of a picture in the index.
    """

    text: str = ""
    terms: tuple[Term, ...] = ()
    negatives: tuple[Term, ...] = ()
    image: bytes | None = None
    like: str = ""
    filters: Filters = field(default_factory=Filters)
    limit: int = 20


@dataclass(frozen=True, slots=True)
class _Token:
    kind: Literal["word", "quoted", "stop"]
    text: str
    minus: bool = False

    @property
    def folded(self) -> str:
        return self.text.casefold() if self.kind == "word" else ""

    @property
    def negates(self) -> bool:
        return self.folded in NEGATIONS or bool(_CONTRACTED.fullmatch(self.folded))


def term(text: str) -> Term:
    """The term of a phrase such as "red square". Raises BadQuery when it contains no word."""
    contained = words(text)
    if not contained:
        raise BadQuery(f"{text!r} holds no word")
    return Term(" ".join(contained), contained)


def parse(
    text: str,
    *,
    now: datetime,
    without: Sequence[str] = (),
    image: bytes | None = None,
    like: str = "",
    filters: Filters | None = None,
    limit: int = 20,
) -> Query:
    """Parse `text`; `without` are further negatives, `filters` are joined with those in the text.

    Times such as "2h" count back from `now`. Raises BadQuery.
    """
    if len(text) > MAX_CHARACTERS:
        raise BadQuery(f"a query has at most {MAX_CHARACTERS} characters")
    if not 1 <= limit <= MAX_LIMIT:
        raise BadQuery(f"limit is 1 to {MAX_LIMIT}")
    tokens, filters = _take_filters(_tokens(text), filters or Filters(), now)
    positive_tokens, negative_phrases = _split(tokens)
    negatives = unique([*(term(phrase) for phrase in negative_phrases if words(phrase)), *map(term, without)])
    positive = _join(positive_tokens)
    if not (positive or negatives or image or like) and filters == Filters():
        raise BadQuery("say what to look for, for example: a red circle, but no square")
    terms = tuple(Term(" ".join(chunk), chunk) for chunk in content_terms(token.text for token in positive_tokens))
    return Query(positive, terms, negatives, image, like, filters, limit)


def parse_time(text: str, now: datetime) -> datetime:
    """An ISO 8601 date or time (UTC unless it says otherwise), or how long ago: `90s 30m 2h 7d 1w`."""
    if span := _SPAN.fullmatch(text.strip().casefold()):
        try:
            return now - timedelta(**{_SPANS[span[2]]: int(span[1])})
        except OverflowError as error:
            raise BadQuery(f"{text!r} is before the first year of the calendar") from error
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise BadQuery(f"{text!r} is no time: write 2026-11-21, 2026-11-21T08:30 or 2h") from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def parse_filters(feeds: Iterable[str], labels: Iterable[str], since: str, until: str, now: datetime) -> Filters:
    """Filters from text as people type it; empty texts set no condition. Raises BadQuery."""
    return Filters(
        feeds=tuple(name for name in feeds if name),
        labels=tuple(name for name in labels if name),
        since=parse_time(since, now) if since else None,
        until=parse_time(until, now) if until else None,
    )


def unique(terms: Iterable[Term]) -> tuple[Term, ...]:
    """Terms without repetitions, in order."""
    return tuple({entry.words: entry for entry in terms}.values())


def _tokens(text: str) -> Iterator[_Token]:
    text = unicodedata.normalize("NFKC", text).translate(str.maketrans("“”„", '"""'))
    if text.count('"') % 2:
        text = " ".join(text.rsplit('"', 1))
    for match in _TOKEN.finditer(text):
        minus = match["minus"] is not None
        if match["quoted"] is not None:
            yield _Token("quoted", " ".join(match["quoted"].split()), minus)
        elif match["stop"] is not None:
            yield _Token("stop", ",")
        elif any(letter.isalnum() for letter in match["word"]):
            yield _Token("word", match["word"], minus)


def _take_filters(tokens: Iterable[_Token], filters: Filters, now: datetime) -> tuple[list[_Token], Filters]:
    """Separate `feed:lobby` and other filters from the rest; `-label:circle` is a negative."""
    rest: list[_Token] = []
    for token in tokens:
        name, colon, value = token.text.partition(":")
        if token.kind != "word" or not colon or not value or name.casefold() not in _FILTERS:
            rest.append(token)
        elif token.minus and name.casefold() == "label":
            rest.append(_Token("quoted", value, minus=True))
        elif token.minus:
            raise BadQuery(f"-{name}: cannot be negated; only -label: can")
        else:
            filters = _with_filter(filters, name.casefold(), value, now)
    return rest, filters


def _with_filter(filters: Filters, name: str, value: str, now: datetime) -> Filters:
    if name == "feed":
        return replace(filters, feeds=(*filters.feeds, value))
    if name == "label":
        return replace(filters, labels=(*filters.labels, value))
    if name == "since":
        return replace(filters, since=parse_time(value, now))
    return replace(filters, until=parse_time(value, now))


def _split(tokens: Sequence[_Token]) -> tuple[list[_Token], list[str]]:
    """The positive part of the query, and each negated phrase."""
    positive: list[_Token] = []
    negated: list[list[str]] = []
    within_negative = False
    for index, token in enumerate(tokens):
        if token.minus:
            negated.append([token.text])
            within_negative = False
        elif token.negates:
            _drop_leads(positive)
            _drop_last_leads(negated)
            negated.append([])
            within_negative = True
        elif within_negative and _ends(tokens, index):
            within_negative = False
        elif within_negative and (token.kind == "stop" or token.folded in {"or", "and"}):
            negated.append([])
        elif within_negative:
            negated[-1].append(token.text)
        elif not _is_redundant(token, positive, negated):
            positive.append(token)
    _drop_stops(positive)
    return positive, [" ".join(words) for words in negated if words]


def _ends(tokens: Sequence[_Token], index: int) -> bool:
    """Whether a negative ends at this token: "but", "and" before "with", or a comma that is not part of a list."""
    token = tokens[index]
    following = tokens[index + 1] if index + 1 < len(tokens) else None
    if token.folded == "but":
        return True
    if token.folded == "and":
        return following is not None and following.folded == "with"
    return token.kind == "stop" and not _or_follows(tokens[index + 1 :])


def _or_follows(tokens: Sequence[_Token]) -> bool:
    """Whether a comma is part of a list like "squares, circles or stars": "or" comes before anything that ends it."""
    for token in tokens:
        if token.folded == "or":
            return True
        if token.minus or token.negates or token.folded in {"but", "and"}:
            return False
    return False


def _is_redundant(token: _Token, positive: Sequence[_Token], negated: Sequence[object]) -> bool:
    """Whether the token only leads back from a negative ("and with …"), or is a stop with nothing before it."""
    if token.kind == "stop":
        return not positive or positive[-1].kind == "stop"
    resumes = bool(negated) and (not positive or positive[-1].kind == "stop")
    return resumes and token.folded in _LEADS


def _drop_leads(positive: list[_Token]) -> None:
    while positive and (positive[-1].kind == "stop" or positive[-1].folded in _LEADS):
        positive.pop()
    if positive:
        positive.append(_Token("stop", ","))


def _drop_last_leads(negated: Sequence[list[str]]) -> None:
    """Drop the "with" of "without squares, with no circle"."""
    while negated and negated[-1] and negated[-1][-1].casefold() in _LEADS:
        negated[-1].pop()


def _drop_stops(positive: list[_Token]) -> None:
    while positive and positive[-1].kind == "stop":
        positive.pop()


def _join(tokens: Sequence[_Token]) -> str:
    return "".join(token.text if token.kind == "stop" else f" {token.text}" for token in tokens).strip()
