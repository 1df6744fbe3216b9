"""The query grammar: "a red circle, but no square" is a text to search for and a term to exclude.

Models like CLIP are near chance on negation. So `Query.text`, which is embedded, never contains a negative; each
negative becomes a `Term` instead:

    a red circle, but no square           text "a red circle", without "square"
    a photo without squares, stars or a blue circle       three negatives
    circle -square -"red star"            a dash before a word or a quoted phrase
    a picture that is not a cartoon       without "cartoon"
    no squares but a red circle           "but" ends a negative, and so does a comma unless "or" follows
    "no parking" sign                     quoted words are taken literally
    circle feed:lobby,yard -label:"stop sign" since:2h until:2026-11-21

Several words negated together are one term: "no red square" leaves out red squares, not red circles.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo
from uuid import UUID

from schemas.words import words
from search.cursor import Cursor, parse_cursor
from search.errors import BadQuery as BadQuery
from search.errors import quoted
from search.times import parse_time as parse_time
from search.times import parse_until as parse_until
from search.tokens import Token, tokens, values
from search.vocabulary import content_terms

MAX_CHARACTERS = 1000
"""Far above the length of a text tower (77 tokens) and far below what would cost noticeable time."""
MAX_LIMIT = 200
MAX_NEGATIVES = 32
"""Each is read by the models with every candidate."""
MAX_NAMES = 100
MAX_NAME_CHARACTERS = 200
"""Each feed and label is looked up in the index."""

OR_NOTE = "'or' is not understood: the query is one description; filters take lists, as label:circle,square"
PARENTHESES_NOTE = "parentheses are not understood: the query is one description"

_LEADS = frozenset(
    {"but", "and", "or", "with", "that", "which", "who", "is", "are", "was", "were", "has", "have", "having",
     "there", "it", "contains", "containing", "does", "do"}
)  # fmt: skip
"""Words before a negation ("… that has no …") or after one, which carry no meaning without it."""


@dataclass(frozen=True, slots=True)
class Term:
    """One word or a phrase that belongs together; `words` are in the form of `schemas.words`."""

    text: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Filters:
    """Conditions beside the content; several feeds or labels are alternatives.

    Times are aware, UTC: from `since` on, and before `until`.
    """

    feeds: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    without_feeds: tuple[str, ...] = ()
    without_labels: tuple[str, ...] = ()


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
    cursor: Cursor | None = None
    """Where a further page begins; None is the first page."""
    fold: bool = False
    """Whether nearly equal pictures of one scene are one hit, see `search.scenes`."""
    notes: tuple[str, ...] = ()
    """What was typed as logic and is not read so."""


def term(text: str) -> Term:
    """The term of a phrase such as "red square". Raises BadQuery when it contains no word."""
    contained = words(text)
    if not contained:
        raise BadQuery(f"{quoted(text)} holds no word")
    return Term(" ".join(contained), contained)


def parse(
    text: str,
    *,
    now: datetime,
    zone: tzinfo | None = UTC,
    without: Sequence[str] = (),
    image: bytes | None = None,
    like: str = "",
    filters: Filters | None = None,
    limit: int = 20,
    cursor: str = "",
    fold: bool = False,
) -> Query:
    """Parse `text`; `without` are further negatives, `filters` are joined with those in the text.

    Times such as "2h" count back from `now`; those without a zone are in `zone` (None: the machine's). `cursor` is
    that of the page before. Raises BadQuery.
    """
    if len(text) > MAX_CHARACTERS:
        raise BadQuery(f"a query has at most {MAX_CHARACTERS} characters")
    if not 1 <= limit <= MAX_LIMIT:
        raise BadQuery(f"limit is 1 to {MAX_LIMIT}")
    rest, filters = _take_filters(tokens(text), filters or Filters(), now, zone)
    positive_tokens, negative_phrases = _split(rest)
    negatives = unique([*(term(phrase) for phrase in negative_phrases if words(phrase)), *map(term, without)])
    if len(negatives) > MAX_NEGATIVES:
        raise BadQuery(f"a query has at most {MAX_NEGATIVES} negatives")
    positive = _join(positive_tokens)
    if not (positive or negatives or image or like) and filters == Filters():
        raise BadQuery("say what to look for, for example: a red circle, but no square")
    terms = tuple(Term(" ".join(chunk), chunk) for chunk in content_terms(token.text for token in positive_tokens))
    like, notes, page = _checked_id(like), _notes(positive_tokens), parse_cursor(cursor)
    return Query(positive, terms, negatives, image, like, filters, limit, page, fold, notes)


def parse_filters(
    feeds: Iterable[str], labels: Iterable[str], since: str, until: str, now: datetime, zone: tzinfo | None = UTC
) -> Filters:
    """Filters from text as people type it, each feed and label also as a list; empty texts set no condition.

    Raises BadQuery.
    """
    return _checked(
        Filters(
            feeds=tuple(name for typed in feeds for name in values(typed)),
            labels=tuple(name for typed in labels for name in values(typed)),
            since=parse_time(since, now, zone) if since.strip() else None,
            until=parse_until(until, now, zone) if until.strip() else None,
        )
    )


def unique(terms: Iterable[Term]) -> tuple[Term, ...]:
    """Terms without repetitions, in order."""
    return tuple({entry.words: entry for entry in terms}.values())


def _notes(positive: Sequence[Token]) -> tuple[str, ...]:
    notes = {
        OR_NOTE: any(token.folded == "or" for token in positive),
        PARENTHESES_NOTE: any({"(", ")"} & set(token.text) for token in positive if token.kind == "word"),
    }
    return tuple(note for note, applies in notes.items() if applies)


def _checked_id(like: str) -> str:
    try:
        return str(UUID(like)) if like else ""
    except ValueError:
        raise BadQuery(
            f"{quoted(like)} is no picture's id; one looks like 496f27ce-255e-5f9b-97d3-0b783fb18967"
        ) from None


def _take_filters(
    typed: Iterable[Token], filters: Filters, now: datetime, zone: tzinfo | None
) -> tuple[list[Token], Filters]:
    """Separate `feed:lobby` and other filters from the rest; `-label:circle` is a negative too.

    It leaves out what the detector named so, and what looks so or is described so.
    """
    rest: list[Token] = []
    for token in typed:
        if token.kind != "filter":
            rest.append(token)
            continue
        filters = _with_filter(filters, token, now, zone)
        if token.minus and token.text == "label":
            rest += [Token("quoted", value, minus=True) for value in token.values]
    return rest, _checked(filters)


def _with_filter(filters: Filters, token: Token, now: datetime, zone: tzinfo | None) -> Filters:
    if token.text == "feed":
        if token.minus:
            return replace(filters, without_feeds=(*filters.without_feeds, *token.values))
        return replace(filters, feeds=(*filters.feeds, *token.values))
    if token.text == "label":
        if token.minus:
            return replace(filters, without_labels=(*filters.without_labels, *token.values))
        return replace(filters, labels=(*filters.labels, *token.values))
    return _with_time(filters, token, now, zone)


def _with_time(filters: Filters, token: Token, now: datetime, zone: tzinfo | None) -> Filters:
    """Of two times, the one that leaves less."""
    if token.minus or len(token.values) > 1:
        raise BadQuery(f"{token.text}: takes one time and cannot be negated, for example {token.text}:2h")
    if token.text == "since":
        since = parse_time(token.values[0], now, zone)
        return replace(filters, since=max(since, filters.since or since))
    until = parse_until(token.values[0], now, zone)
    return replace(filters, until=min(until, filters.until or until))


def _checked(filters: Filters) -> Filters:
    names = (*filters.feeds, *filters.labels, *filters.without_feeds, *filters.without_labels)
    if len(names) > MAX_NAMES or any(len(name) > MAX_NAME_CHARACTERS for name in names):
        raise BadQuery(f"filters have at most {MAX_NAMES} names of at most {MAX_NAME_CHARACTERS} characters")
    since, until = filters.since, filters.until
    if since and until and since >= until:
        raise BadQuery(f"since {since:%Y-%m-%d %H:%M:%S} UTC is not before until {until:%Y-%m-%d %H:%M:%S} UTC")
    return filters


def _split(tokens: Sequence[Token]) -> tuple[list[Token], list[str]]:
    """The positive part of the query, and each negated phrase."""
    positive: list[Token] = []
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


def _ends(tokens: Sequence[Token], index: int) -> bool:
    """Whether a negative ends at this token: "but", "and" before "with", or a comma that is not part of a list."""
    token = tokens[index]
    following = tokens[index + 1] if index + 1 < len(tokens) else None
    if token.folded == "but":
        return True
    if token.folded == "and":
        return following is not None and following.folded == "with"
    return token.kind == "stop" and not _or_follows(tokens[index + 1 :])


def _or_follows(tokens: Sequence[Token]) -> bool:
    """Whether a comma is part of a list like "squares, circles or stars": "or" comes before anything that ends it."""
    for token in tokens:
        if token.folded == "or":
            return True
        if token.minus or token.negates or token.folded in {"but", "and"}:
            return False
    return False


def _is_redundant(token: Token, positive: Sequence[Token], negated: Sequence[object]) -> bool:
    """Whether the token only leads back from a negative ("and with …"), or is a stop with nothing before it."""
    if token.kind == "stop":
        return not positive or positive[-1].kind == "stop"
    resumes = bool(negated) and (not positive or positive[-1].kind == "stop")
    return resumes and token.folded in _LEADS


def _drop_leads(positive: list[Token]) -> None:
    while positive and (positive[-1].kind == "stop" or positive[-1].folded in _LEADS):
        positive.pop()
    if positive:
        positive.append(Token("stop", ","))


def _drop_last_leads(negated: Sequence[list[str]]) -> None:
    """Drop the "with" of "without squares, with no circle"."""
    while negated and negated[-1] and negated[-1][-1].casefold() in _LEADS:
        negated[-1].pop()


def _drop_stops(positive: list[Token]) -> None:
    while positive and positive[-1].kind == "stop":
        positive.pop()


def _join(tokens: Sequence[Token]) -> str:
    return "".join(token.text if token.kind == "stop" else f" {token.text}" for token in tokens).strip()
