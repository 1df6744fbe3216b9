"""The embedded index: Qdrant Edge in a process of its own, started when the first client needs it."""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_left
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np

from stores.checks import Column, columns, payloads, query_vector, unit_rows, uuids
from stores.edge import wire
from stores.edge.connection import Connection
from stores.edge.settings import EdgeSettings
from stores.errors import StoreUnavailable
from stores.index import CollectionSpec, Filter, Hit, Point, Vector, Verified
from stores.latest import latest_page

T = TypeVar("T")
BATCH_POINTS = 64
"""Points per request: the index process applies the first while the next is encoded; a search waits for one only."""
SNAPSHOT_SECONDS = 3600.0
"""A copy to a slow disk takes long; a gigabyte holds some 200,000 points."""
VERIFIED_POINTS = 64
"""Per request: a search waits some milliseconds."""
PROGRESS_SECONDS = 0.2
_log = logging.getLogger("stores.edge")
_hits = msgspec.msgpack.Decoder(list[Hit])
_page = msgspec.msgpack.Decoder(tuple[list[Hit], str | None])
_verified = msgspec.msgpack.Decoder(tuple[list[str], int, str | None, int])
_stored = msgspec.msgpack.Decoder(dict[str, wire.Stored])
_number = msgspec.msgpack.Decoder(int)
_truth = msgspec.msgpack.Decoder(bool)
_numbers = msgspec.msgpack.Decoder(dict[str, int])


class EdgeIndex:
    """An `Index` in `folder` (created if missing). Any number of clients and processes may use the same folder.

    Vectors are returned at unit length. The first call raises WrongLayout for a folder that is not an index's.
    """

    def __init__(self, folder: Path, settings: EdgeSettings | None = None) -> None:
        self._settings = settings or EdgeSettings()
        self._connection = Connection(folder, self._settings)
        self._warned: set[str] = set()

    async def ensure(self, collection: CollectionSpec, alias: str | None = None) -> None:
        await self._connection.call(wire.Ensure(collection, alias))

    async def upsert(self, collection: str, points: Sequence[Point]) -> None:
        calls = []
        for request in _upserts(collection, points):
            calls.append(asyncio.ensure_future(self._connection.call(request)))
            # Sent before the next is encoded: the index process applies it meanwhile.
            await asyncio.sleep(0)
        points_in_all = max(map(_number.decode, await asyncio.gather(*calls)), default=0)
        if points_in_all > self._settings.recommended_points and collection not in self._warned:
            self._warned.add(collection)
            _log.warning(_size_warning(collection, points_in_all, self._settings.recommended_points))

    async def delete(self, collection: str, where: Filter) -> None:
        await self._connection.call(wire.Delete(collection, where))

    async def search(
        self,
        collection: str,
        vector_name: str,
        vector: Vector,
        *,
        where: Filter | None = None,
        limit: int = 10,
        with_vectors: Sequence[str] = (),
    ) -> Sequence[Hit]:
        numbers = unit_rows(query_vector(vector_name, vector)[np.newaxis]).tobytes()
        request = wire.Search(collection, vector_name, numbers, where, limit, list(with_vectors))
        return _hits.decode(await self._connection.call(request))

    async def get(self, collection: str, ids: Sequence[str], *, with_vectors: Sequence[str] = ()) -> Sequence[Hit]:
        return _hits.decode(await self._connection.call(wire.Get(collection, uuids(ids), list(with_vectors))))

    async def scroll(
        self, collection: str, *, where: Filter | None = None, limit: int = 100, after: str | None = None
    ) -> tuple[Sequence[Hit], str | None]:
        return _page.decode(await self._connection.call(wire.Scroll(collection, where, limit, after)))

    async def latest(
        self, collection: str, field: str, *, where: Filter | None = None, limit: int = 100, after: str | None = None
    ) -> tuple[Sequence[Hit], str | None]:
        return await latest_page(
            partial(self._ordered, collection, field), partial(self.scroll, collection), field, where, limit, after
        )

    async def _ordered(self, collection: str, field: str, where: Filter, limit: int) -> Sequence[Hit]:
        """Points by descending `field`, equal ones in any order."""
        return _hits.decode(await self._connection.call(wire.Ordered(collection, field, where, limit)))

    async def count(self, collection: str, where: Filter | None = None) -> int:
        return _number.decode(await self._connection.call(wire.Count(collection, where)))

    async def facet(
        self, collection: str, field: str, *, where: Filter | None = None, limit: int = 50
    ) -> Mapping[str, int]:
        return _numbers.decode(await self._connection.call(wire.Facet(collection, field, where, limit)))

    async def remove(self, collection: str) -> None:
        await self._connection.call(wire.Remove(collection))

    async def collections(self) -> Mapping[str, int]:
        return _numbers.decode(await self._connection.call(wire.Collections()))

    async def flush(self) -> None:
        await self._connection.call(wire.Flush())

    async def verify(self, collection: str) -> Verified:
        """Read every point; searches and writes go on meanwhile."""
        points, damaged, missing, after, first = 0, list[str](), 0, None, True
        while first or after is not None:
            first = False
            answer = await self._connection.call(wire.Verify(collection, VERIFIED_POINTS, after))
            page, read, after, missing = _verified.decode(answer)
            points, damaged = points + read, damaged + page
        return Verified(points, tuple(damaged), missing)

    async def compact(self) -> AsyncIterator[Mapping[str, wire.Stored]]:
        """Rebuild every collection without the bytes of deleted points; yields the state, first and last as well.

        Raises StoreUnavailable with the cause of a rebuild that failed.
        """
        yield await self.storage()
        await self._connection.call(wire.Compact())
        while True:
            stored = await self.storage()
            yield stored
            if failures := [each.failure for each in stored.values() if each.failure]:
                raise StoreUnavailable("; ".join(failures))
            if not any(each.compacting for each in stored.values()):
                return
            await asyncio.sleep(PROGRESS_SECONDS)

    async def storage(self) -> Mapping[str, wire.Stored]:
        """Points and space on the disk of each collection."""
        return _stored.decode(await self._connection.call(wire.Storage()))

    async def salvage(self) -> Mapping[str, int]:
        """Replace each damaged collection by one of its intact points: their number, by collection.

        Calls on a damaged collection raise Damaged until then. What is missing afterwards has to be written again.
        """
        return _numbers.decode(await self._connection.call(wire.Salvage(), SNAPSHOT_SECONDS))

    async def snapshot(
        self, folder: Path, while_held: Callable[[], Awaitable[None]] | None = None
    ) -> Mapping[str, int]:
        """Copy the whole index to `folder`, which is created; the number of points by collection.

        Everything acknowledged before the call is in the copy. Writes wait until it is made, and until `while_held`
        has returned; searches do not. Raises StoreUnavailable where that took too long.
        """
        target = str(folder.absolute())
        request = wire.Snapshot(target, held=while_held is not None)
        points = _numbers.decode(await self._connection.call(request, SNAPSHOT_SECONDS))
        if while_held is not None:
            await while_held()
            if not _truth.decode(await self._connection.call(wire.Release(target))):
                raise StoreUnavailable("the index was written again before its snapshot was taken note of: try again")
        return points

    async def close(self) -> None:
        await self._connection.close()


def _upserts(collection: str, points: Sequence[Point]) -> Iterator[wire.Upsert]:
    """Requests of BATCH_POINTS each. Raises Refused before the first."""
    vectors, ids = columns(points), uuids([point.id for point in points])
    bodies = [payloads(points[start : start + BATCH_POINTS]) for start in range(0, len(points), BATCH_POINTS)]
    for number, body in enumerate(bodies):
        first, end = number * BATCH_POINTS, (number + 1) * BATCH_POINTS
        floats = [part for column in vectors if (part := _part(column, first, end)).rows]
        yield wire.Upsert(collection, ids[first:end], floats, body)


def _part(column: Column, first: int, end: int) -> wire.Floats:
    """The vectors of the points from `first` to before `end`."""
    begin, after = bisect_left(column.rows, first), bisect_left(column.rows, end)
    rows = [row - first for row in column.rows[begin:after]]
    return wire.Floats(column.name, rows, column.matrix.shape[1], unit_rows(column.matrix[begin:after]).tobytes())


def _size_warning(name: str, points: int, recommended: int) -> str:
    return (
        f"collection {name!r} has {points} points: the embedded index is recommended for up to {recommended}. "
        "For more, run a Qdrant server and give its URL as the index (http://HOST:6333)"
    )
