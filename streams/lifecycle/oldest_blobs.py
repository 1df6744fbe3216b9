"""The oldest blobs of a day, page by page, in bounded memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

from stores.blobs import THUMBNAIL, BlobStore, StoredBlob
from streams.lifecycle.tenants import owner_of


@dataclass(frozen=True, slots=True, order=True)
class AgedBlob:
    """`moment` (seconds since the epoch) is when it was put last, where that was on its URI's day; else the day's end.

    The day is part of the name; the time of the file is not: a folder that was restored or copied has other times. A
    picture is older than its frame's point, so no moment is guessed that may be too early.
    """

    moment: float
    blob: StoredBlob
    feed: str


def day_start(day: date) -> float:
    return datetime.combine(day, time(), UTC).timestamp()


async def oldest(
    blobs: BlobStore,
    tenant: str,
    feeds: Iterable[str],
    day: date,
    count: int,
    after: AgedBlob | None,
    *,
    paired: bool = False,
) -> list[AgedBlob]:
    """At most `count` of the day's blobs behind `after`, oldest first. Raises StoreUnavailable.

    A feed of another tenant is named TENANT/FEED. With `paired` a thumbnail has the moment of its original and comes
    behind it, where both are there: a worker puts it later, after a backlog much later.
    """
    page: list[AgedBlob] = []
    for feed in feeds:
        aged_blobs = _aged(blobs.list(*owner_of(feed, tenant), day), day, feed)
        async for aged in _paired(aged_blobs) if paired else aged_blobs:
            if after is None or aged > after:
                page.append(aged)
            if len(page) >= 2 * count:
                page = _first(page, count)
    return _first(page, count)


async def _aged(blobs: AsyncIterator[StoredBlob], day: date, feed: str) -> AsyncIterator[AgedBlob]:
    first, last = day_start(day), day_start(day + timedelta(days=1))
    async for blob in blobs:
        yield AgedBlob(blob.modified if first <= blob.modified <= last else last, blob, feed)


async def _paired(blobs: AsyncIterator[AgedBlob]) -> AsyncIterator[AgedBlob]:
    """Remembers what has not met its other half yet: little, where a store lists by name."""
    moments: dict[str, float] = {}
    thumbnails: dict[str, AgedBlob] = {}
    async for aged in blobs:
        uri = aged.blob.uri
        original = uri.removesuffix(THUMBNAIL)
        if original == uri:
            yield aged
            if (thumbnail := thumbnails.pop(uri, None)) is not None:
                yield replace(thumbnail, moment=aged.moment)
            else:
                moments[uri] = aged.moment
        elif (moment := moments.pop(original, None)) is not None:
            yield replace(aged, moment=moment)
        else:
            thumbnails[original] = aged
    for thumbnail in thumbnails.values():
        yield thumbnail


def _first(blobs: Iterable[AgedBlob], count: int) -> list[AgedBlob]:
    """In the order of `AgedBlob`; by a key, because Python's own comparison of them takes four times as long."""
    return sorted(blobs, key=lambda aged: (aged.moment, aged.blob.uri))[:count]
