"""Filters alone: the newest pictures first, page by page."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import msgspec

from schemas.points import SEMANTIC, VISUAL
from search.results import SearchHit
from search.scenes import TIME, Scenes
from stores.index import Filter, Hit, Index
from stores.latest import cursor_at

MIN_READ, MAX_READ_AT_ONCE = 64, 1024
"""Points read at a time; more from one time to the next where most are left out or folded."""
MAX_READ = 10_000
"""Points read for one page. A page that would need more is short; the next one goes on from there."""


@dataclass(frozen=True, slots=True)
class Page:
    """`after` is the index's cursor of the next page, empty on the last."""

    hits: Sequence[SearchHit]
    after: str


class Browser:
    """Reads the pictures of one answer. With `scenes`, the newest picture of each scene stands for it."""

    def __init__(self, index: Index, collection: str, scenes: Scenes | None = None) -> None:
        self._index = index
        self._collection = collection
        self._scenes = scenes

    async def newest(self, where: Filter, keep: Callable[[Hit], bool], limit: int, after: str) -> Page:
        """Pictures that meet `where` and `keep`, from the cursor `after` on, or from the newest where it is empty.

        Raises StoreUnavailable, Missing, and Refused for a cursor that is none.
        """
        shown: list[Hit] = []
        following, read = "", 0
        async with aclosing(self._points(where, max(MIN_READ, limit + 1), after or None)) as points:
            async for hit in points:
                is_shown = keep(hit) and self._begins_scene(hit)
                if (is_shown and len(shown) == limit) or read == MAX_READ:
                    following = cursor_at(hit, TIME)
                    break
                read += 1
                shown += [hit] if is_shown else []
        return Page(
            [SearchHit(id=hit.id, score=0.0, probability=None, payload=hit.payload) for hit in shown], following
        )

    async def _points(self, where: Filter, size: int, after: str | None) -> AsyncGenerator[Hit, None]:
        while True:
            hits, after = await self._index.latest(self._collection, TIME, where=where, limit=size, after=after)
            for hit in await self._with_vectors(hits):
                yield hit
            if after is None:
                return
            size = min(4 * size, MAX_READ_AT_ONCE)

    async def _with_vectors(self, hits: Sequence[Hit]) -> Sequence[Hit]:
        if self._scenes is None or not hits:
            return hits
        stored = await self._index.get(self._collection, [hit.id for hit in hits], with_vectors=(VISUAL, SEMANTIC))
        vectors = {hit.id: hit.vectors for hit in stored}
        return [msgspec.structs.replace(hit, vectors=vectors.get(hit.id, {})) for hit in hits]

    def _begins_scene(self, hit: Hit) -> bool:
        return self._scenes is None or bool(self._scenes.add([hit]))
