"""Feeds and labels as people type them, and as the index has them."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import pairwise

from schemas.words import words
from search.query import Filters
from search.results import UnknownName
from search.vocabulary import spellings
from stores.index import Filter, Index, Match

FACET_LIMIT = 1000
"""Names that are compared with what was typed, most frequent first."""
NEAREST = 3
SIMILARITY = 0.5
"""Of `difflib`: "sqare" and "square" have 0.9."""
Fold = Callable[[str], frozenset[str]]
"""The forms of a name in which two are compared."""


@dataclass(frozen=True, slots=True)
class Names:
    """`filters` name feeds and labels as the index does; `impossible` where none of the wanted ones is there."""

    filters: Filters
    unknown: tuple[UnknownName, ...] = ()
    impossible: bool = False


@dataclass(frozen=True, slots=True)
class _Known:
    """The names of one payload field, by their folded forms."""

    names: Sequence[str]
    fold: Fold

    def same(self, typed: str) -> tuple[str, ...]:
        forms = self.fold(typed)
        return tuple(name for name in self.names if name == typed or forms & self.fold(name))

    def nearest(self, typed: str) -> tuple[str, ...]:
        """The most frequent ones where none is near."""
        by_form = {form: name for name in reversed(self.names) for form in self.fold(name)}
        near = get_close_matches(min(self.fold(typed), default=""), by_form, NEAREST, SIMILARITY)
        return tuple(dict.fromkeys(by_form[form] for form in near)) or tuple(self.names[:NEAREST])


class NameResolver:
    """Finds the names of one tenant in `collection`."""

    def __init__(self, index: Index, collection: str, tenant: str) -> None:
        self._index = index
        self._collection = collection
        self._mine = Match(field="tenant", any_of=(tenant,))

    async def labels(self) -> Sequence[str]:
        """The labels of the index, most frequent first. Raises StoreUnavailable, Missing."""
        return tuple(await self._facet("labels"))

    async def resolve(self, filters: Filters) -> Names:
        """Case, plural and spaces at the ends do not matter. Raises StoreUnavailable, Missing."""
        feeds, labels = await asyncio.gather(
            self._resolve("feed", filters.feeds, filters.without_feeds, _folded_feed),
            self._resolve("labels", filters.labels, filters.without_labels, folded_label),
        )
        resolved = replace(filters, feeds=feeds[0], without_feeds=feeds[1], labels=labels[0], without_labels=labels[1])
        impossible = bool((filters.feeds and not feeds[0]) or (filters.labels and not labels[0]))
        return Names(resolved, (*feeds[2], *labels[2]), impossible)

    async def _resolve(
        self, field: str, wanted: Sequence[str], unwanted: Sequence[str], fold: Fold
    ) -> tuple[tuple[str, ...], tuple[str, ...], tuple[UnknownName, ...]]:
        """The names in the index of both, and what is unknown."""
        if not (wanted or unwanted):
            return (), (), ()
        # A facet takes time in a large index, and most names are typed as they are.
        found = {typed: await self._exact(field, typed) for typed in (*wanted, *unwanted)}
        known = _Known(() if all(found.values()) else tuple(await self._facet(field)), fold)
        found = {typed: names or known.same(typed) for typed, names in found.items()}
        unknown = [
            UnknownName(kind="feed" if field == "feed" else "label", name=typed, nearest=known.nearest(typed))
            for typed, names in found.items()
            if not names and (typed in wanted or not await self._is_told(field, typed))
        ]
        return _names(wanted, found), _names(unwanted, found), tuple(unknown)

    async def _facet(self, field: str) -> Mapping[str, int]:
        return await self._index.facet(self._collection, field, where=Filter(must=(self._mine,)), limit=FACET_LIMIT)

    async def _exact(self, field: str, typed: str) -> tuple[str, ...]:
        """The name itself, where the index has it so."""
        return (typed,) if await self._exists(Match(field=field, any_of=(typed,))) else ()

    async def _exists(self, *matches: Match) -> bool:
        """Whether a picture meets all of them; this is faster than a count."""
        where = Filter(must=(self._mine, *matches))
        return bool((await self._index.scroll(self._collection, where=where, limit=1))[0])

    async def _is_told(self, field: str, unwanted: str) -> bool:
        """Whether a text of some picture mentions an unwanted label, which is a negative of the query too."""
        contained = words(unwanted)
        if field != "labels" or not contained:
            return False
        told = [Match(field="words", any_of=(word,)) for word in contained]
        told += [Match(field="compound", any_of=(f"{left} {right}",)) for left, right in pairwise(contained)]
        return await self._exists(*told)


def _names(typed: Iterable[str], found: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for text in typed for name in found[text]))


def _folded_feed(name: str) -> frozenset[str]:
    return frozenset({" ".join(unicodedata.normalize("NFKC", name).casefold().split())})


def folded_label(name: str) -> frozenset[str]:
    """Its words in every form that they may have ("people", "person"); a label without a word, as a feed."""
    contained = words(name)
    return frozenset(" ".join(form) for form in spellings(contained)) if contained else _folded_feed(name)
