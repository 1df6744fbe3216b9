"""Work in portions: a list in pages, and all points of a collection page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TypeVar

from stores.index import Filter, Hit, Index

T = TypeVar("T")
PAGE_POINTS = 1_000


def pages(entries: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """`entries` in order, `size` at a time; the last page may be shorter."""
    return (entries[start : start + size] for start in range(0, len(entries), size))


async def point_pages(index: Index, collection: str, where: Filter | None = None) -> AsyncIterator[Sequence[Hit]]:
    """Every matching point, in id order. Raises StoreUnavailable, Missing."""
    after: str | None = None
    while True:
        page, after = await index.scroll(collection, where=where, limit=PAGE_POINTS, after=after)
        yield page
        if after is None:
            return
