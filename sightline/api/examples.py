"""Queries that the page offers: of what this index holds, and only those that find something in it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from litestar import get
from litestar.di import NamedDependency

from search.errors import BadQuery
from search.query import parse
from search.results import Contents
from search.retrieve import Searcher
from sightline.api.erased import ErasedFrames
from stores.errors import Missing

SHOWN = 4
FRESH_SECONDS = 300.0
"""Between two trials of the examples; each is a search."""


class Examples:
    """Tried when they are first asked for, and again when they are older than `FRESH_SECONDS` or there were none."""

    def __init__(self, searcher: Searcher, erased: ErasedFrames) -> None:
        self._searcher, self._erased = searcher, erased
        self._trying = asyncio.Lock()
        self._found: list[str] = []
        self._tried = 0.0

    async def found(self) -> list[str]:
        """Raises StoreUnavailable."""
        async with self._trying:
            if not self._found or time.monotonic() - self._tried > FRESH_SECONDS:
                self._found, self._tried = await self._try(), time.monotonic()
        return self._found

    async def _try(self) -> list[str]:
        found: list[str] = []
        try:
            for text in candidates(await self._searcher.contents()):
                if len(found) < SHOWN and await self._finds(text):
                    found.append(text)
        except Missing:  # before the first frame is indexed
            return []
        return found

    async def _finds(self, text: str) -> bool:
        try:
            query, erased = parse(text, now=datetime.now(UTC), limit=1), await self._erased.known()
            return bool((await self._searcher.search(query, erased)).hits)
        except BadQuery:
            return False


def candidates(contents: Contents) -> Iterator[str]:
    """Frequent phrases and labels, with and without something that is to be left out."""
    names = [name for name in (*contents.phrases, *contents.labels) if name.isprintable()]
    labels = list(contents.labels)
    if len(names) > 0:
        for label in labels:
            if label not in names[0]:
                yield f"a {names[0]}, but no {label}"
                break
    yield from (f"a {name}" for name in names[1:3])
    yield from (f"-{label}" for label in labels[:1] if label.isalpha())
    yield from names[:1]


@get("/api/examples")
async def examples(found_examples: NamedDependency[Examples]) -> dict[str, Any]:
    return {"examples": await found_examples.found()}
