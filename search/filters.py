"""From a query to conditions on the payload fields of `schemas.points`.

A negative of one word is a condition on `words`, one of two words on `compound`. So "no red square" excludes red
squares and keeps "a red circle and a blue square". Longer phrases are checked pair by pair after the search.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from schemas.points import OUT_OF_DOMAIN
from search.query import Filters, Query, Term
from search.vocabulary import spellings
from stores.index import Filter, Match


def conditions(query: Query, tenant: str) -> Filter:
    """What the index can check by itself: the tenant, the filters, and negatives of one or two words.

    Words do not find a picture unlike those that the models were trained on. A picture is not like itself, so the one
    that others are to be like is left out.
    """
    return Filter(must=(Match(field="tenant", any_of=(tenant,)), *_must(query.filters)), must_not=_must_not(query))


def out_of_domain(query: Query, tenant: str) -> Filter:
    """The pictures that the filters allow and that words do not find."""
    strange = Match(field="flags", any_of=(OUT_OF_DOMAIN,))
    return Filter(must=(Match(field="tenant", any_of=(tenant,)), strange, *_must(query.filters)))


def _must(filters: Filters) -> tuple[Match, ...]:
    matches = []
    if filters.feeds:
        matches.append(Match(field="feed", any_of=filters.feeds))
    if filters.labels:
        matches.append(Match(field="labels", any_of=filters.labels))
    if filters.since or filters.until:
        since = filters.since.isoformat() if filters.since else None
        until = filters.until.isoformat() if filters.until else None
        matches.append(Match(field="time", at_least=since, below=until))
    return tuple(matches)


def _must_not(query: Query) -> tuple[Match, ...]:
    spelled = [spelling for negative in query.negatives for spelling in spellings(negative.words)]
    singles = tuple(spelling[0] for spelling in spelled if len(spelling) == 1)
    doubles = tuple(" ".join(spelling) for spelling in spelled if len(spelling) == 2)
    by_field = {
        "words": singles,
        "compound": doubles,
        "feed": query.filters.without_feeds,
        "labels": query.filters.without_labels,
        "frame": (query.like,) if query.like else (),
        "flags": (OUT_OF_DOMAIN,) if query.text else (),
    }
    return tuple(Match(field=name, any_of=values) for name, values in by_field.items() if values)


def mentions(payload: Mapping[str, Any], term: Term) -> bool:
    """Whether the texts of the picture contain the term."""
    return any(_mentions(payload, spelling) for spelling in spellings(term.words))


def mentions_any(payload: Mapping[str, Any], terms: Iterable[Term]) -> bool:
    """Whether the texts of the picture contain one of the terms, of any length."""
    return any(mentions(payload, term) for term in terms)


def _mentions(payload: Mapping[str, Any], spelling: tuple[str, ...]) -> bool:
    if len(spelling) == 1:
        return spelling[0] in (payload.get("words") or ())
    pairs = {f"{left} {right}" for left, right in pairwise(spelling)}
    return pairs <= set(payload.get("compound") or ())
