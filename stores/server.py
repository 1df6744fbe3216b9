"""A Qdrant server by URL, over gRPC."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Mapping, Sequence
from functools import partial
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit

from qdrant_client import AsyncQdrantClient, grpc, models

from stores.checks import check_sizes, columns, query_vector, uuids
from stores.errors import Refused
from stores.index import CollectionSpec, Filter, Hit, Point, Vector, Verified
from stores.latest import latest_page
from stores.qdrant_layout import ensure, layout
from stores.qdrant_types import to_filter, to_hit, to_points, translated, written

T = TypeVar("T")
API_KEY_VARIABLE = "QDRANT_API_KEY"
BATCH_POINTS = 128
"""Upserts of 64 to 256 points, two to four at a time, were fastest (18 times single points)."""
CALLS_AT_ONCE = 4
TIMEOUT_SECONDS = 30
"""An upsert waits until it is applied; while a server optimizes, that takes seconds."""
RECONNECT = {"grpc.initial_reconnect_backoff_ms": 200, "grpc.max_reconnect_backoff_ms": 5_000}
"""By default the waits grow to two minutes: a worker would resume that much later than the server."""
HTTP_PORT, GRPC_PORT = 6333, 6334


class ServerIndex:
    """An `Index` on the Qdrant server at `url` (`http://HOST:6333`; `?grpc_port=` where it is not the usual one).

    The API key comes from the argument or the environment's QDRANT_API_KEY, and appears in no message. Nothing is
    connected before the first call. The server's own settings decide what survives a power cut: it has no call that
    syncs its disk.
    """

    def __init__(self, url: str, api_key: str | None = None) -> None:
        """Raises ValueError for a malformed URL."""
        parts = urlsplit(url)
        port = parts.port or HTTP_PORT
        options = parse_qs(parts.query, keep_blank_values=True)
        grpc_ports = options.get("grpc_port", [str(GRPC_PORT if port == HTTP_PORT else port + 1)])
        unknown = options.keys() - {"grpc_port"}
        if unknown or not parts.hostname or parts.username or not grpc_ports[0].isdigit():
            raise ValueError("a Qdrant server's URL is http://HOST:6333, with ?grpc_port=PORT if that is not 6334")
        self._grpc_port = int(grpc_ports[0])
        self._url = f"{parts.scheme}://{parts.hostname}:{port}{parts.path.rstrip('/')}"
        self._api_key = api_key or os.environ.get(API_KEY_VARIABLE) or None
        self._opened: AsyncQdrantClient | None = None
        self._calls = asyncio.Semaphore(CALLS_AT_ONCE)
        self._layouts: dict[str, CollectionSpec] = {}

    @property
    def _client(self) -> AsyncQdrantClient:
        """Created at the first call, because a channel belongs to the event loop that runs then."""
        if self._opened is None:
            self._opened = AsyncQdrantClient(
                url=self._url,
                grpc_port=self._grpc_port,
                prefer_grpc=True,
                api_key=self._api_key,
                timeout=TIMEOUT_SECONDS,
                grpc_options=dict(RECONNECT),
                check_compatibility=False,
            )
        return self._opened

    async def ensure(self, collection: CollectionSpec, alias: str | None = None) -> None:
        self._layouts.clear()
        await ensure(self._client, self._url, collection, alias)

    async def upsert(self, collection: str, points: Sequence[Point]) -> None:
        vectors = columns(points)
        await self._check_sizes(collection, {column.name: column.matrix.shape[1] for column in vectors})
        converted = to_points(points, vectors)
        batches = [converted[start : start + BATCH_POINTS] for start in range(0, len(converted), BATCH_POINTS)]
        await asyncio.gather(*(self._upsert(collection, batch) for batch in batches))

    async def _upsert(self, collection: str, batch: list[grpc.PointStruct]) -> None:
        request = grpc.UpsertPoints(collection_name=collection, wait=True, points=batch)
        async with self._calls:
            await written(self._url, self._client.grpc_points.Upsert(request, timeout=TIMEOUT_SECONDS))

    async def delete(self, collection: str, where: Filter) -> None:
        selected = models.FilterSelector(filter=await self._filter(collection, where) or models.Filter())
        await self._translated(self._client.delete(collection, selected, wait=True))

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
        response = await self._translated(
            self._client.query_points(
                collection,
                query_vector(vector_name, vector).tolist(),
                using=vector_name,
                query_filter=await self._filter(collection, where),
                limit=limit,
                with_vectors=list(with_vectors) or False,
            )
        )
        return [to_hit(point, point.score) for point in response.points]

    async def get(self, collection: str, ids: Sequence[str], *, with_vectors: Sequence[str] = ()) -> Sequence[Hit]:
        answer = self._client.retrieve(collection, uuids(ids), with_vectors=list(with_vectors) or False)
        return [to_hit(record) for record in await self._translated(answer)]

    async def scroll(
        self, collection: str, *, where: Filter | None = None, limit: int = 100, after: str | None = None
    ) -> tuple[Sequence[Hit], str | None]:
        condition = await self._filter(collection, where)
        records, next_id = await self._translated(self._client.scroll(collection, condition, limit=limit, offset=after))
        return [to_hit(record) for record in records], None if next_id is None else str(next_id)

    async def latest(
        self, collection: str, field: str, *, where: Filter | None = None, limit: int = 100, after: str | None = None
    ) -> tuple[Sequence[Hit], str | None]:
        return await latest_page(
            partial(self._ordered, collection, field), partial(self.scroll, collection), field, where, limit, after
        )

    async def _ordered(self, collection: str, field: str, where: Filter, limit: int) -> Sequence[Hit]:
        """Points by descending `field`, equal ones in any order."""
        condition = await self._filter(collection, where)
        order = models.OrderBy(key=field, direction=models.Direction.DESC)
        answer = self._client.scroll(collection, condition, limit=limit, order_by=order)
        return [to_hit(record) for record in (await self._translated(answer))[0]]

    async def count(self, collection: str, where: Filter | None = None) -> int:
        condition = await self._filter(collection, where)
        return (await self._translated(self._client.count(collection, condition, exact=True))).count

    async def facet(
        self, collection: str, field: str, *, where: Filter | None = None, limit: int = 50
    ) -> Mapping[str, int]:
        condition = await self._filter(collection, where)
        response = await self._translated(self._client.facet(collection, field, condition, limit=limit, exact=True))
        return {str(hit.value): hit.count for hit in response.hits if hit.count}

    async def remove(self, collection: str) -> None:
        self._layouts.clear()
        if await self._translated(self._client.collection_exists(collection)):
            await self._translated(self._client.delete_collection(collection))

    async def collections(self) -> Mapping[str, int]:
        names = [entry.name for entry in (await self._translated(self._client.get_collections())).collections]
        return {name: await self.count(name) for name in names}

    async def verify(self, collection: str) -> Verified:
        """Counts only: a server verifies its own files."""
        return Verified(await self.count(collection), ())

    async def flush(self) -> None:
        """Nothing to do: a point is acknowledged when it is applied and in the server's write-ahead log."""

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.close()
            self._opened = None

    async def _translated(self, answer: Awaitable[T]) -> T:
        return await translated(self._url, answer)

    async def _filter(self, collection: str, where: Filter | None) -> models.Filter | None:
        """The filter in the client's types; it depends on the declared types of its fields."""
        if where is None:
            return None
        return to_filter(where, (await self._layout(collection)).payload)

    async def _check_sizes(self, collection: str, sizes: Mapping[str, int]) -> None:
        """Check before anything is sent, because a server applies a batch up to the point that it refuses."""
        try:
            check_sizes(collection, (await self._layout(collection)).vectors, sizes)
        except Refused:
            # The alias may have moved since the layout was read.
            self._layouts.clear()
            check_sizes(collection, (await self._layout(collection)).vectors, sizes)

    async def _layout(self, collection: str) -> CollectionSpec:
        if collection not in self._layouts:
            self._layouts[collection] = await layout(self._client, self._url, collection)
        return self._layouts[collection]
