"""An index that adds a namespace to the names of collections and aliases, so that deployments share a Qdrant server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from stores.index import CollectionSpec, Filter, Hit, Index, Point, Vector, Verified


class NamespacedIndex:
    """See `stores.index.Index`; names on `index` begin with `namespace` and a dot."""

    def __init__(self, index: Index, namespace: str) -> None:
        self._index, self._prefix = index, f"{namespace}."
        self.flush, self.close = index.flush, index.close

    async def ensure(self, collection: CollectionSpec, alias: str | None = None) -> None:
        named = replace(collection, name=self._prefix + collection.name)
        await self._index.ensure(named, None if alias is None else self._prefix + alias)

    async def upsert(self, collection: str, points: Sequence[Point]) -> None:
        await self._index.upsert(self._prefix + collection, points)

    async def delete(self, collection: str, where: Filter) -> None:
        await self._index.delete(self._prefix + collection, where)

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
        name = self._prefix + collection
        return await self._index.search(name, vector_name, vector, where=where, limit=limit, with_vectors=with_vectors)

    async def get(self, collection: str, ids: Sequence[str], *, with_vectors: Sequence[str] = ()) -> Sequence[Hit]:
        return await self._index.get(self._prefix + collection, ids, with_vectors=with_vectors)

    async def scroll(
        self, collection: str, *, where: Filter | None = None, limit: int = 100, after: str | None = None
    ) -> tuple[Sequence[Hit], str | None]:
        return await self._index.scroll(self._prefix + collection, where=where, limit=limit, after=after)

    async def latest(
        self, collection: str, field: str, *, where: Filter | None = None, limit: int = 100, after: str | None = None
    ) -> tuple[Sequence[Hit], str | None]:
        return await self._index.latest(self._prefix + collection, field, where=where, limit=limit, after=after)

    async def count(self, collection: str, where: Filter | None = None) -> int:
        return await self._index.count(self._prefix + collection, where)

    async def facet(
        self, collection: str, field: str, *, where: Filter | None = None, limit: int = 50
    ) -> Mapping[str, int]:
        return await self._index.facet(self._prefix + collection, field, where=where, limit=limit)

    async def remove(self, collection: str) -> None:
        await self._index.remove(self._prefix + collection)

    async def verify(self, collection: str) -> Verified:
        return await self._index.verify(self._prefix + collection)

    async def collections(self) -> Mapping[str, int]:
        """Those in the namespace."""
        counts = await self._index.collections()
        return {
            name.removeprefix(self._prefix): points for name, points in counts.items() if name.startswith(self._prefix)
        }
