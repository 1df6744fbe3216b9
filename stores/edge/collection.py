"""One collection in its open shard: what the index process does with Qdrant Edge. Every call blocks and is short."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import qdrant_edge as edge

from stores.checks import check_filter, check_sizes
from stores.edge import file_sums, wire
from stores.edge.checksums import SUMS, has_all_vectors, is_intact, with_new_payload, with_sums
from stores.edge.conditions import INDEX_TYPES, index_field, shadowed, to_filter, unshadowed
from stores.edge.shard import attempt, by_point, floats_of, vectors_of
from stores.errors import Damaged, StoreBlocked, StoreUnavailable
from stores.index import CollectionSpec, Filter, Hit

T = TypeVar("T")
PAGE = 1_000
"""Ids read at a time where a filter is resolved to ids."""


class Collection:
    """An open shard; `touched` holds the ids written since a rebuild of it began, and is None otherwise.

    `sealed`: points get checksums. `verified`: its files were as recorded when it was opened, or all of its points have
    been verified since. `proven`: its files are recorded, and nothing was written since.
    """

    def __init__(
        self, spec: CollectionSpec, folder: Path, shard: edge.EdgeShard, *, sealed: bool = True, verified: bool = False
    ) -> None:
        self.spec = spec
        self.folder = folder
        self.sealed = sealed
        self.verified = verified
        self.proven = False
        self.touched: set[str] | None = None
        self.unflushed = True
        """Also after it was opened: Edge applies its write-ahead log again, and writes files when it is closed."""
        self.unpurged_since: float | None = None
        """The monotonic time of the first deletion whose bytes may still be in the files."""
        self.compaction_requested = False
        self.rebuilding = False
        """True until the rebuilt shard is in place and the old one is removed."""
        self.failure = ""
        """Why the last rebuild failed, or empty."""
        self.last_write = time.monotonic()
        self.damaged: set[str] = set()
        """Ids of points that were read and are not as they were written."""
        self.missing = 0
        """The number of points that were lost."""
        self._shard = shard
        self.index_fields()
        counts = shard.info()
        self.written = counts.points_count - counts.indexed_vectors_count // max(1, len(spec.vectors))
        """Points written since the last optimization, a measure of what is not indexed."""

    @property
    def points(self) -> int:
        return int(self._shard.info().points_count)

    @property
    def is_whole(self) -> bool:
        """Whether its files may be recorded as they are."""
        return self.verified and not self.damaged and not self.missing

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
        payloads = msgspec.json.decode(request.payloads, type=list[dict[str, Any]])
        stored = [shadowed(self.spec, payload) for payload in payloads]
        for payload in stored:
            payload.pop(SUMS, None)
        self.write(request.ids, by_point(len(request.ids), request.vectors), stored)
        return self.points

    def write(self, ids: Sequence[str], vectors: Sequence[Any], payloads: Sequence[dict[str, Any]]) -> None:
        """Write points in Edge's own form: the vectors of each are a dict of float sequences. Missing checksums are
        added.
        """
        if self.sealed:
            payloads = [
                payload if SUMS in payload else with_sums(each, of_point, payload)
                for each, of_point, payload in zip(ids, vectors, payloads, strict=True)
            ]
        points: list[Any] = list(map(edge.Point, ids, vectors, payloads))
        expected = self.points + self.missing if self.missing else 0
        self._update(edge.UpdateOperation.upsert_points(points))
        self.missing = max(0, expected - self.points) if self.missing else 0
        self.written += len(points)
        self._written(ids)

    def matching(self, where: Filter) -> list[str]:
        """The ids of all points that match."""
        ids: list[str] = []
        after: str | None = None
        while True:
            records, after = self._page(where, PAGE, after)
            ids += [str(record.id) for record in records]
            if after is None:
                return ids

    def delete_ids(self, ids: Sequence[str]) -> None:
        file_sums.remove_flushed(self.folder)
        self.missing = 0
        self._update(edge.UpdateOperation.delete_points(list(ids)))
        self._written(ids)

    def search(self, request: wire.Search) -> list[Hit]:
        check_sizes(self.spec.name, self.spec.vectors, {request.name: len(request.vector) // 4})
        vector = np.frombuffer(request.vector, "<f4").tolist()
        try:
            return self._hits(self._attempt(lambda: self._shard.query(self._query(request, vector, with_payload=True))))
        except StoreUnavailable as error:
            return self._search_apart(request, vector, error)

    def get(self, ids: list[str], with_vectors: list[str]) -> list[Hit]:
        return self._hits(self.records(ids, with_vectors))

    def records(self, ids: list[str], with_vectors: list[str]) -> list[edge.Record]:
        """Points in Edge's own form; `id` is a UUID, `vector` a dict of lists. Those that cannot be read are left out,
        and are in `damaged`.
        """
        try:
            return self._retrieve(ids, with_vectors)
        except StoreUnavailable as error:
            return self._records_apart(ids, with_vectors, error)

    def scroll(self, where: Filter | None, limit: int, after: str | None) -> tuple[list[Hit], str | None]:
        records, next_id = self._page(where, limit, after, with_payload=True)
        return self._hits(records), next_id

    def ordered(self, field: str, where: Filter, limit: int) -> list[Hit]:
        order = edge.OrderBy(index_field(self.spec, field), edge.Direction.Desc)
        request = edge.ScrollRequest(None, limit, self._filter(where), with_payload=True, order_by=order)
        return self._hits(self._attempt(lambda: self._shard.scroll(request))[0])

    def verify(self, limit: int, after: str | None) -> tuple[list[str], int, str | None]:
        """Read the next points whole: the ids of the damaged ones, the number of points, and the next id."""
        ids, next_id = self._ids(limit, after)
        intact = {str(record.id) for record in self.records(ids, list(self.spec.vectors)) if self._is_whole(record)}
        damaged = [point_id for point_id in ids if point_id not in intact]
        self.damaged.update(damaged)
        return damaged, len(ids), next_id

    def export(self, limit: int, after: str | None) -> wire.Exported:
        """The next points as they are stored. Raises Damaged where one cannot be read: it would be lost."""
        ids, next_id = self._ids(limit, after)
        records = self.records(ids, list(self.spec.vectors))
        if len(records) < len(ids):
            raise Damaged(f"collection {self.spec.name!r} has points that cannot be read; {file_sums.WAY_OUT}")
        return self._exported(records, next_id)

    def salvage(self, limit: int, after: str | None) -> wire.Exported:
        """Those of the next points that are intact."""
        ids, next_id = self._ids(limit, after)
        records = self.records(ids, list(self.spec.vectors))
        return self._exported([record for record in records if self._is_whole(record)], next_id)

    def storage(self) -> wire.Stored:
        compacting = self.compaction_requested or self.rebuilding
        return wire.Stored(self.points, file_sums.allocated_bytes(self.folder), compacting, self.failure)

    def _exported(self, records: Sequence[edge.Record], next_id: str | None) -> wire.Exported:
        return wire.Exported(
            [str(record.id) for record in records],
            [floats for name in self.spec.vectors if (floats := floats_of(name, records)).rows],
            msgspec.json.encode([record.payload or {} for record in records]),
            next_id,
        )

    def count(self, where: Filter | None) -> int:
        return int(self._attempt(lambda: self._shard.count(edge.CountRequest(exact=True, filter=self._filter(where)))))

    def facet(self, field: str, where: Filter | None, limit: int) -> dict[str, int]:
        request = edge.FacetRequest(index_field(self.spec, field), limit, exact=True, filter=self._filter(where))
        # Edge keeps values that no point has any more, with a count of 0.
        return {str(hit.value): hit.count for hit in self._attempt(lambda: self._shard.facet(request)) if hit.count}

    def optimize(self) -> None:
        """Build the graphs that make searches of many points fast; holds the interpreter's lock for minutes."""
        self._attempt(self._shard.optimize)

    def flush(self) -> None:
        """Everything written before survives a power cut."""
        if self.unflushed:
            self._attempt(self._shard.flush)
            self.unflushed = False
            file_sums.write_flushed(self.folder, self.points + self.missing)

    def close(self) -> None:
        self.flush()
        self._attempt(self._shard.close)

    def _update(self, operation: edge.UpdateOperation) -> None:
        self.unflushed = True
        self.last_write = time.monotonic()
        if self.proven:
            file_sums.remove(self.folder)
            self.proven = False
        self._attempt(lambda: self._shard.update(operation))

    def _attempt(self, action: Callable[[], T]) -> T:
        return attempt(action, self.folder)

    def _written(self, ids: Iterable[str]) -> None:
        if self.damaged:
            self.damaged.difference_update(ids)
        if self.touched is not None:
            self.touched.update(ids)

    def _shadow_stored(self) -> None:
        """Add the hidden keywords to points that were written before their field was declared."""
        after: str | None = None
        while True:
            records, after = self._page(None, PAGE, after, with_payload=True)
            for record in records:
                payload = record.payload or {}
                if (added := shadowed(self.spec, payload)) != payload:
                    added = with_new_payload(str(record.id), added, payload)
                    self._update(edge.UpdateOperation.overwrite_payload([record.id], added))
            if after is None:
                return

    def _ids(self, limit: int, after: str | None) -> tuple[list[str], str | None]:
        records, next_id = self._page(None, limit, after)
        return [str(record.id) for record in records], next_id

    def _page(
        self, where: Filter | None, limit: int, after: str | None, *, with_payload: bool = False
    ) -> tuple[list[edge.Record], str | None]:
        request = edge.ScrollRequest(after, limit, self._filter(where), with_payload=with_payload, with_vector=False)
        try:
            records, next_id = self._attempt(lambda: self._shard.scroll(request))
        except StoreUnavailable:
            if not with_payload:
                raise
            without, following = self._page(where, limit, after)
            return self.records([str(record.id) for record in without], []), following
        return records, None if next_id is None else str(next_id)

    def _retrieve(self, ids: list[str], with_vectors: list[str]) -> list[edge.Record]:
        return self._attempt(
            lambda: self._shard.retrieve(list(ids), with_payload=True, with_vector=with_vectors or False)
        )

    def _records_apart(self, ids: list[str], with_vectors: list[str], cause: StoreUnavailable) -> list[edge.Record]:
        """One by one, because one unreadable point fails all. Raises `cause` where none can be read."""
        if isinstance(cause, StoreBlocked) and not isinstance(cause, Damaged):
            raise cause
        records: list[edge.Record] = []
        unreadable: list[str] = []
        for point_id in ids:
            try:
                records += self._retrieve([point_id], with_vectors)
            except StoreUnavailable:
                unreadable.append(point_id)
        if len(unreadable) == len(ids) > 1:
            raise cause
        self.damaged.update(unreadable)
        return records

    def _query(self, request: wire.Search, vector: list[float], *, with_payload: bool) -> edge.QueryRequest:
        return edge.QueryRequest(
            limit=request.limit,
            query=edge.Query.Nearest(vector, using=request.name),
            filter=self._filter(request.where),
            with_payload=with_payload,
            with_vector=(with_payload and request.with_vectors) or False,
        )

    def _search_apart(self, request: wire.Search, vector: list[float], cause: StoreUnavailable) -> list[Hit]:
        """A search whose hits cannot all be read: the hits without their payloads, then each by itself."""
        scores = {
            str(point.id): point.score
            for point in self._attempt(lambda: self._shard.query(self._query(request, vector, with_payload=False)))
        }
        by_id = {str(record.id): record for record in self._records_apart(list(scores), request.with_vectors, cause)}
        hits = [self._hit(by_id[point_id], score) for point_id, score in scores.items() if point_id in by_id]
        return [hit for hit in hits if hit is not None]

    def _filter(self, where: Filter | None) -> edge.Filter | None:
        check_filter(where, self.spec.payload)
        return self._attempt(lambda: to_filter(self.spec, where))

    def _is_whole(self, record: edge.Record) -> bool:
        payload, stored = record.payload or {}, vectors_of(record)
        return is_intact(str(record.id), payload, stored) and has_all_vectors(payload, stored)

    def _hits(self, points: Sequence[edge.Record | edge.ScoredPoint]) -> list[Hit]:
        """Without damaged points, which are noted."""
        hits = [self._hit(point, getattr(point, "score", 0.0)) for point in points]
        return [hit for hit in hits if hit is not None]

    def _hit(self, point: edge.Record | edge.ScoredPoint, score: float) -> Hit | None:
        point_id, payload = str(point.id), point.payload or {}
        vectors = {name: np.asarray(numbers, "<f4").tobytes() for name, numbers in vectors_of(point).items()}
        if not is_intact(point_id, payload, {name: memoryview(numbers) for name, numbers in vectors.items()}):
            self.damaged.add(point_id)
            return None
        payload.pop(SUMS, None)
        return Hit(id=point_id, score=score, payload=unshadowed(self.spec, payload), vectors=vectors)
