"""The open index folder: collections by name, aliases, and the answer to each request."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import qdrant_edge as edge

from stores.edge import catalog, wire
from stores.edge.collection import Collection, attempt, create
from stores.errors import Missing, Refused
from stores.index import CollectionSpec
from stores.layout import check_layout


class IndexFolder:
    """Holds every shard of `folder` open. Raises WrongLayout for a folder that is not an index's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._catalog = catalog.load(folder)
        catalog.remove_leftovers(folder, self._catalog)
        self.collections = {name: self._open(entry) for name, entry in self._catalog.collections.items()}

    def _open(self, entry: catalog.Entry) -> Collection:
        path = self.folder / entry.shard
        return Collection(entry.spec, path, attempt(lambda: edge.EdgeShard.load(str(path))))

    def answer(self, request: wire.Request) -> object:
        """The result of `request`; raises the errors of `stores.errors`."""
        match request:
            case wire.Ensure():
                self._ensure(request.spec, request.alias)
            case wire.Upsert():
                return self.named(request.collection).upsert(request)
            case wire.Delete():
                self.named(request.collection).delete(request.where)
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
            case wire.Remove():
                self._remove(request.collection)
            case wire.Collections():
                return {name: collection.points for name, collection in self.collections.items()}
            case wire.Flush():
                self.flush()
        return None

    def named(self, name: str) -> Collection:
        """The collection with the name or alias `name`; raises Missing."""
        collection = self.collections.get(self._catalog.aliases.get(name, name))
        if collection is None:
            raise Missing(f"the index has no collection {name!r}, it has {', '.join(self.collections) or 'none'}")
        return collection

    def flush(self) -> None:
        for collection in self.collections.values():
            collection.flush()

    def close(self) -> None:
        for collection in self.collections.values():
            collection.close()

    def new_shard(self) -> Path:
        """A path for a shard folder that was never used; the folder is a leftover until `adopt`."""
        number = self._catalog.shards_made + 1
        self._save(msgspec.structs.replace(self._catalog, shards_made=number))
        return self.folder / f"{catalog.SHARD_PREFIX}{number:06d}"

    def adopt(self, name: str, collection: Collection) -> None:
        """Give `collection` the name `name`, durably: the one step of a creation or exchange."""
        entry = catalog.Entry(collection.spec, collection.folder.name)
        self._save(msgspec.structs.replace(self._catalog, collections=self._catalog.collections | {name: entry}))
        self.collections[name] = collection

    def exchange(self, name: str, old: Collection, new: Collection) -> None:
        """Replace `old` by `new`. Raises Missing if `old` was removed."""
        if self.collections.get(name) is not old:
            raise Missing(f"collection {name!r} was removed")
        self.adopt(name, new)

    def _save(self, changed: catalog.Catalog) -> None:
        if changed != self._catalog:
            catalog.save(self.folder, changed)
            self._catalog = changed

    def _ensure(self, spec: CollectionSpec, alias: str | None) -> None:
        if spec.name in self._catalog.aliases or alias in self.collections or alias == spec.name:
            raise Refused(f"{spec.name!r} and {alias!r}: a name is a collection's or an alias, not both")
        if spec.name in self.collections:
            self._add_fields(self.collections[spec.name], spec)
        else:
            folder = self.new_shard()
            self.adopt(spec.name, Collection(spec, folder, attempt(lambda: create(folder, spec))))
        if alias is not None:
            self._save(msgspec.structs.replace(self._catalog, aliases=self._catalog.aliases | {alias: spec.name}))

    def _remove(self, name: str) -> None:
        collection = self.collections.pop(name, None)
        if collection is not None:
            rest = {other: entry for other, entry in self._catalog.collections.items() if other != name}
            aliases = {alias: target for alias, target in self._catalog.aliases.items() if target != name}
            self._save(msgspec.structs.replace(self._catalog, collections=rest, aliases=aliases))
            collection.close()
            shutil.rmtree(collection.folder, ignore_errors=True)

    def _add_fields(self, collection: Collection, spec: CollectionSpec) -> None:
        """Add the payload indexes that are new in `spec`."""
        check_layout(collection.spec, spec)
        payload = collection.spec.payload | spec.payload
        if payload != collection.spec.payload:
            collection.spec = msgspec.structs.replace(spec, payload=payload)
            collection.index_fields()
            self.adopt(spec.name, collection)
