"""The open index folder: collections by name, aliases, and the answer to each request."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import qdrant_edge as edge

from stores.edge import catalog, file_sums, wire
from stores.edge.collection import Collection
from stores.edge.shard import attempt, create
from stores.errors import Damaged, Missing, Refused, StoreBlocked, StoreUnavailable
from stores.index import CollectionSpec, Filter
from stores.layout import check_layout

_log = logging.getLogger("stores.edge")


class IndexFolder:
    """Holds every shard of `folder` open. Raises WrongLayout for a folder that is not an index's.

    Collections whose files are damaged are in `broken` instead of `collections`: each call on one raises its error.
    """

    def __init__(self, folder: Path, open_seconds: float = 0.0) -> None:
        """A shard that takes longer than `open_seconds` to open ends the process by SIGALRM; 0 is no limit."""
        self.folder = folder
        self._catalog = catalog.load(folder)
        catalog.remove_leftovers(folder, self._catalog)
        self.collections: dict[str, Collection] = {}
        self.broken: dict[str, Damaged] = {}
        for name, entry in self._catalog.collections.items():
            try:
                with _opening(folder / entry.shard, open_seconds):
                    self.collections[name] = opened(folder / entry.shard, entry)
            except Damaged as error:
                _log.error("collection %s: %s", name, error)
                self.broken[name] = error
        if not self.broken:
            with suppress(OSError):  # a full disk: the next start does it
                catalog.renew_copy(folder, self._catalog)

    def answer(self, request: wire.Request) -> object:
        """The result of `request`; raises the errors of `stores.errors`."""
        match request:
            case wire.Ensure():
                self._ensure(request.spec, request.alias)
            case wire.Upsert():
                return self.named(request.collection).upsert(request)
            case wire.Delete():
                self._delete(self.named(request.collection), request.where)
            case wire.Search():
                return self.named(request.collection).search(request)
            case wire.Get():
                return self.named(request.collection).get(request.ids, request.with_vectors)
            case wire.Scroll():
                return self.named(request.collection).scroll(request.where, request.limit, request.after)
            case wire.Ordered():
                return self.named(request.collection).ordered(request.field, request.where, request.limit)
            case wire.Count():
                return self.named(request.collection).count(request.where)
            case wire.Facet():
                return self.named(request.collection).facet(request.field, request.where, request.limit)
            case wire.Compact():
                for collection in self.collections.values():
                    collection.compaction_requested = True
            case wire.Storage():
                return {name: collection.storage() for name, collection in self.collections.items()}
            case wire.Remove():
                self._remove(request.collection)
            case wire.Collections():
                for error in self.broken.values():
                    raise error
                return {name: collection.points for name, collection in self.collections.items()}
            case wire.Verify():
                collection = self.named(request.collection)
                return *collection.verify(request.limit, request.after), collection.missing
            case wire.Export():
                return self.named(request.collection).export(request.limit, request.after)
            case wire.Flush():
                self.flush()
        return None

    def named(self, name: str) -> Collection:
        """The collection with the name or alias `name`; raises Missing, or Damaged for a broken one."""
        name = self._catalog.aliases.get(name, name)
        if name in self.broken:
            raise Damaged(str(self.broken[name]))
        collection = self.collections.get(name)
        if collection is None:
            raise Missing(f"the index has no collection {name!r}, it has {', '.join(self.collections) or 'none'}")
        return collection

    def flush(self) -> None:
        for collection in self.collections.values():
            collection.flush()

    def close(self) -> None:
        for collection in self.collections.values():
            points, whole = collection.points, collection.is_whole
            collection.close()
            if whole and not collection.proven:
                with suppress(OSError):  # a full disk: the points are verified at the next start
                    file_sums.write(collection.folder, file_sums.of_files(collection.folder, points))

    def warning(self) -> str:
        """What a person should know of damaged and lost points; empty where there are none."""
        return "; ".join(filter(None, (_warning(name, each) for name, each in self.collections.items())))

    def new_shard(self) -> Path:
        """A path for a shard folder that was never used; the folder is a leftover until `adopt`."""
        number = self._catalog.shards_made + 1
        self._save(msgspec.structs.replace(self._catalog, shards_made=number))
        return self.folder / f"{catalog.SHARD_PREFIX}{number:06d}"

    def adopt(self, name: str, collection: Collection) -> None:
        """Give `collection` the name `name`, durably: the one step of a creation or exchange."""
        unpurged = collection.unpurged_since is not None
        entry = catalog.Entry(collection.spec, collection.folder.name, unpurged=unpurged, sealed=collection.sealed)
        self._save(msgspec.structs.replace(self._catalog, collections=self._catalog.collections | {name: entry}))
        self.collections[name] = collection

    def exchange(self, name: str, old: Collection, new: Collection) -> None:
        """Replace `old` by `new`. Raises Missing if `old` was removed."""
        if self.collections.get(name) is not old:
            raise Missing(f"collection {name!r} was removed")
        self.adopt(name, new)

    def restore(self, name: str, collection: Collection) -> None:
        """Put `collection` in the place of a broken one, whose files are removed."""
        old = self._catalog.collections[name]
        self.adopt(name, collection)
        del self.broken[name]
        catalog.remove_shard(self.folder / old.shard)

    def entry(self, name: str) -> catalog.Entry:
        return self._catalog.collections[name]

    def _delete(self, collection: Collection, where: Filter) -> None:
        """The catalog notes durably, before the deletion, that its bytes have to be purged."""
        ids = collection.matching(where)
        if ids and collection.unpurged_since is None:
            collection.unpurged_since = time.monotonic()
            try:
                self.adopt(collection.spec.name, collection)
            except OSError as error:  # on a full disk, a deletion is what makes room
                _log.warning("a deletion from %s is not noted durably: %s", collection.spec.name, error)
        if ids:
            collection.delete_ids(ids)

    def _save(self, changed: catalog.Catalog) -> None:
        if changed != self._catalog:
            catalog.save(self.folder, changed)
            self._catalog = changed

    def _ensure(self, spec: CollectionSpec, alias: str | None) -> None:
        if spec.name in self.broken:
            raise Damaged(str(self.broken[spec.name]))
        if spec.name in self._catalog.aliases or alias in self.collections or alias == spec.name:
            raise Refused(f"{spec.name!r} and {alias!r}: a name is a collection's or an alias, not both")
        if spec.name in self.collections:
            self._add_fields(self.collections[spec.name], spec)
        else:
            folder = self.new_shard()
            self.adopt(spec.name, Collection(spec, folder, attempt(lambda: create(folder, spec)), verified=True))
        if alias is not None:
            self._save(msgspec.structs.replace(self._catalog, aliases=self._catalog.aliases | {alias: spec.name}))

    def _remove(self, name: str) -> None:
        if name in self._catalog.collections:
            shard, collection = self.folder / self.entry(name).shard, self.collections.pop(name, None)
            self.broken.pop(name, None)
            rest = {other: entry for other, entry in self._catalog.collections.items() if other != name}
            aliases = {alias: target for alias, target in self._catalog.aliases.items() if target != name}
            self._save(msgspec.structs.replace(self._catalog, collections=rest, aliases=aliases))
            if collection is not None:
                collection.close()
            catalog.remove_shard(shard)

    def _add_fields(self, collection: Collection, spec: CollectionSpec) -> None:
        """Add the payload indexes that are new in `spec`."""
        check_layout(collection.spec, spec)
        payload = collection.spec.payload | spec.payload
        if payload != collection.spec.payload:
            collection.spec = msgspec.structs.replace(spec, payload=payload)
            collection.index_fields()
            self.adopt(spec.name, collection)


def _warning(name: str, collection: Collection) -> str:
    parts = []
    if collection.damaged:
        example = min(collection.damaged)
        parts.append(f"{len(collection.damaged)} damaged points are left out of results, such as {example}")
    if collection.missing:
        parts.append(f"{collection.missing} of {collection.points + collection.missing} points are lost")
    return f"collection {name!r}: {' and '.join(parts)}; {file_sums.WAY_OUT}" if parts else ""


@contextmanager
def _opening(shard: Path, seconds: float) -> Iterator[None]:
    """A note for the parent process, which blames the shard if this process ends meanwhile."""
    note = shard.with_name(catalog.OPENING)
    note.write_text(shard.name)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        note.unlink()


def opened(folder: Path, entry: catalog.Entry) -> Collection:
    """The collection of a shard whose files are as they were recorded. Raises Damaged, StoreUnavailable."""
    if not folder.is_dir():
        raise Damaged(f"{folder} is missing; {file_sums.WAY_OUT}")
    if catalog.crash_mark(folder).exists():
        raise Damaged(f"{folder} cannot be opened, the index process crashes; {file_sums.WAY_OUT}")
    try:
        sums = file_sums.read(folder)
    except Damaged as error:
        _log.warning("%s; its points are verified one by one", error)
        sums = None
    if sums is not None:
        file_sums.verify(folder, sums)
        # Edge changes files when it opens a shard.
        file_sums.remove(folder)
    collection = Collection(entry.spec, folder, _load(folder), sealed=entry.sealed, verified=sums is not None)
    if sums is not None and collection.points != sums.points:
        raise Damaged(f"{folder} has {collection.points} points of {sums.points}; {file_sums.WAY_OUT}")
    if sums is None:
        collection.missing = max(0, file_sums.read_flushed(folder) - collection.points)
    if entry.unpurged:
        collection.unpurged_since = time.monotonic()
    return collection


def _load(folder: Path) -> edge.EdgeShard:
    """Raises Damaged for files that Edge cannot read, StoreUnavailable where the machine is the cause."""
    try:
        return attempt(lambda: edge.EdgeShard.load(str(folder)), folder)
    except StoreBlocked:
        raise
    except (StoreUnavailable, Refused) as error:
        raise Damaged(f"{folder} cannot be opened, its files are damaged ({error}); {file_sums.WAY_OUT}") from error
