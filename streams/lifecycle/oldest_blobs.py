"""The oldest blobs of a day, page by page, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from stores.blobs import BlobStore, StoredBlob
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
    blobs: BlobStore, tenant: str, feeds: Iterable[str], day: date, count: int, after: AgedBlob | None
) -> list[AgedBlob]:
    """At most `count` of the day's blobs behind `after`, oldest first. Raises StoreUnavailable.

    A feed of another tenant is named TENANT/FEED.
    """
    first, last = day_start(day), day_start(day + timedelta(days=1))
    page: list[AgedBlob] = []
    for feed in feeds:
        async for blob in blobs.list(*owner_of(feed, tenant), day):
            aged = AgedBlob(blob.modified if first <= blob.modified <= last else last, blob, feed)
            if after is None or aged > after:
                page.append(aged)
            if len(page) >= 2 * count:
                page = _first(page, count)
    return _first(page, count)


def _first(blobs: Iterable[AgedBlob], count: int) -> list[AgedBlob]:
    """In the order of `AgedBlob`; by a key, because Python's own comparison of them takes four times as long."""
    return sorted(blobs, key=lambda aged: (aged.moment, aged.blob.uri))[:count]
