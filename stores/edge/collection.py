"""One collection in its open shard: what the index process does with Qdrant Edge. Every call blocks and is short."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import qdrant_edge as edge

from stores.checks import check_filter, check_sizes
from stores.edge import wire
from stores.edge.conditions import INDEX_TYPES, index_field, shadowed, to_filter, unshadowed
from stores.errors import Refused, StoreError, store_unavailable
from stores.index import CollectionSpec, Filter, Hit

T = TypeVar("T")
PAGE = 1_000
"""Ids read at a time where a filter is resolved to ids."""
FINAL = ("Vector dimension error", "Not existing vector name", "No appropriate index", "Wrong input", "Bad request")
"""Prefixes of Edge's messages for errors in the request; it has one exception class for all errors. Other errors are
the machine's and are retried, because a refused point is lost to the index.
"""


def attempt(action: Callable[[], T]) -> T:
    """The result of `action` on Edge; its exceptions become Refused, StoreBlocked or StoreUnavailable."""
    try:
        return action()
    except StoreError:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        raise Refused(str(error)) from error
    except Exception as error:
        if str(error).startswith(FINAL):
            raise Refused(str(error)) from error
        raise store_unavailable("the index", error) from error


def create(folder: Path, spec: CollectionSpec) -> edge.EdgeShard:
    """A new shard in `folder`; distances are cosines, so Edge keeps vectors at unit length."""
    folder.mkdir()
    vectors = {
        name: edge.EdgeVectorParams(size=size, distance=edge.Distance.Cosine) for name, size in spec.vectors.items()
    }
    return edge.EdgeShard.create(str(folder), edge.EdgeConfig(vectors=vectors))


class Collection:
    """An open shard; `touched` holds the ids written since it was copied for an optimization, and is None otherwise."""

    def __init__(self, spec: CollectionSpec, folder: Path, shard: edge.EdgeShard) -> None:
        self.spec = spec
        self.folder = folder
        self.touched: set[str] | None = None
        self.unflushed = False
        self._shard = shard
        self.index_fields()
        counts = shard.info()
        self.written = counts.points_count - counts.indexed_vectors_count // max(1, len(spec.vectors))
        """Points written since the last optimization, a measure of what is not indexed."""

    @property
    def points(self) -> int:
        return int(self._shard.info().points_count)

    def index_fields(self) -> None:
        """Create the payload indexes that the spec asks for and the shard lacks."""
        indexed = self._shard.info().payload_schema
        for field, kind in self.spec.payload.items():
            if index_field(self.spec, field) not in indexed:
                self._update(edge.UpdateOperation.create_field_index(index_field(self.spec, field), INDEX_TYPES[kind]))
                if kind == "bool":
                    self._shadow_stored()

    def upsert(self, request: wire.Upsert) -> int:
        """Write; return the number of points that the collection then has. Raises Refused for a wrong size."""
        check_sizes(self.spec.name, self.spec.vectors, {floats.name: floats.size for floats in request.vectors})
        vectors: list[dict[str, Any]] = [{} for _ in request.ids]
        for floats in request.vectors:
            # Edge reads a view faster than a list, which would first have to be made.
            numbers = memoryview(floats.numbers).cast("f")
            for index, row in enumerate(floats.rows):
                vectors[row][floats.name] = numbers[index * floats.size : (index + 1) * floats.size]
        payloads = msgspec.json.decode(request.payloads, type=list[dict[str, Any]])
        self.write(request.ids, vectors, [shadowed(self.spec, payload) for payload in payloads])
        return self.points

    def write(self, ids: Sequence[str], vectors: Sequence[Any], payloads: Sequence[dict[str, Any]]) -> None:
        """Write points in Edge's own form: the vectors of each are a dict of float sequences."""
        points: list[Any] = list(map(edge.Point, ids, vectors, payloads))
        self._update(edge.UpdateOperation.upsert_points(points))
        self.written += len(points)
        if self.touched is not None:
            self.touched.update(ids)

    def delete(self, where: Filter) -> None:
        if self.touched is not None:
            self.touched.update(self._ids(where))
        selected = self._filter(where) or edge.Filter()
        self._update(edge.UpdateOperation.delete_points_by_filter(selected))

    def delete_ids(self, ids: Sequence[str]) -> None:
        self._update(edge.UpdateOperation.delete_points(list(ids)))

    def search(self, request: wire.Search) -> list[Hit]:
        check_sizes(self.spec.name, self.spec.vectors, {request.name: len(request.vector) // 4})
        vector = np.frombuffer(request.vector, "<f4").tolist()
        query = edge.QueryRequest(
            limit=request.limit,
            query=edge.Query.Nearest(vector, using=request.name),
            filter=self._filter(request.where),
            with_payload=True,
            with_vector=request.with_vectors or False,
        )
        return [self._hit(point, point.score) for point in attempt(lambda: self._shard.query(query))]

    def get(self, ids: list[str], with_vectors: list[str]) -> list[Hit]:
        return [self._hit(record) for record in self.records(ids, with_vectors)]

    def records(self, ids: list[str], with_vectors: list[str]) -> list[edge.Record]:
        """Points in Edge's own form; `id` is a UUID, `vector` a dict of lists."""
        return attempt(lambda: self._shard.retrieve(list(ids), with_payload=True, with_vector=with_vectors or False))

    def scroll(self, where: Filter | None, limit: int, after: str | None) -> tuple[list[Hit], str | None]:
        records, next_id = self._page(where, limit, after, with_payload=True)
        return [self._hit(record) for record in records], next_id

    def ordered(self, field: str, where: Filter, limit: int) -> list[Hit]:
        order = edge.OrderBy(index_field(self.spec, field), edge.Direction.Desc)
        request = edge.ScrollRequest(None, limit, self._filter(where), with_payload=True, order_by=order)
        return [self._hit(record) for record in attempt(lambda: self._shard.scroll(request))[0]]

    def count(self, where: Filter | None) -> int:
        return int(attempt(lambda: self._shard.count(edge.CountRequest(exact=True, filter=self._filter(where)))))

    def facet(self, field: str, where: Filter | None, limit: int) -> dict[str, int]:
        request = edge.FacetRequest(index_field(self.spec, field), limit, exact=True, filter=self._filter(where))
        # Edge keeps values that no point has any more, with a count of 0.
        return {str(hit.value): hit.count for hit in attempt(lambda: self._shard.facet(request)) if hit.count}

    def flush(self) -> None:
        """Everything written before survives a power cut."""
        if self.unflushed:
            attempt(self._shard.flush)
            self.unflushed = False

    def close(self) -> None:
        self.flush()
        self._shard.close()

    def _update(self, operation: edge.UpdateOperation) -> None:
        self.unflushed = True
        attempt(lambda: self._shard.update(operation))

    def _shadow_stored(self) -> None:
        """Add the hidden keywords to points that were written before their field was declared."""
        after: str | None = None
        while True:
            records, after = self._page(None, PAGE, after, with_payload=True)
            for record in records:
                payload = record.payload or {}
                if (added := shadowed(self.spec, payload)) != payload:
                    self._update(edge.UpdateOperation.overwrite_payload([record.id], added))
            if after is None:
                return

    def _ids(self, where: Filter) -> list[str]:
        ids: list[str] = []
        after: str | None = None
        while True:
            records, after = self._page(where, PAGE, after, with_payload=False)
            ids += [str(record.id) for record in records]
            if after is None:
                return ids

    def _page(
        self, where: Filter | None, limit: int, after: str | None, *, with_payload: bool
    ) -> tuple[list[edge.Record], str | None]:
        request = edge.ScrollRequest(after, limit, self._filter(where), with_payload=with_payload, with_vector=False)
        records, next_id = attempt(lambda: self._shard.scroll(request))
        return records, None if next_id is None else str(next_id)

    def _filter(self, where: Filter | None) -> edge.Filter | None:
        check_filter(where, self.spec.payload)
        return attempt(lambda: to_filter(self.spec, where))

    def _hit(self, point: edge.Record | edge.ScoredPoint, score: float = 0.0) -> Hit:
        stored: Any = point.vector or {}
        vectors = {name: np.asarray(numbers, "<f4").tobytes() for name, numbers in stored.items()}
        return Hit(id=str(point.id), score=score, payload=unshadowed(self.spec, point.payload or {}), vectors=vectors)
