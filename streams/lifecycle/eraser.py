"""Erases deleted frames: their originals and thumbnails, unless another frame has the same picture, and their records.

Records are removed where the log can do it (`Transport.erase`), elsewhere they go with retention.

Blobs are named by content, so two frames may share one. The topics, as far as retention reaches, and the index say
which frames cite a blob. See `docs/decisions/060-erasing-blobs.md`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import structlog
from msgspec.structs import replace

from schemas import points
from schemas.events import Deletion
from stores.blobs import THUMBNAIL, is_blob_of
from stores.errors import StoreUnavailable
from stores.index import Filter, Match
from stores.pages import pages
from streams.backends import Backends
from streams.clock import Clock, utc
from streams.errors import LogFull, Unavailable
from streams.lifecycle.citations import Place
from streams.lifecycle.deletions import Deletions, publish_deletions
from streams.lifecycle.due_frames import DueFrames
from streams.lifecycle.kept_frames import KeptFrames
from streams.retry import Retry
from streams.transport import Partition

log = structlog.get_logger()
T = TypeVar("T")
SETTLE_WATCHES = 5
"""After this many intervals of `watch_seconds` every worker has read the deletion."""
PAYLOAD = ("uri", "thumbnail")
"""Where a point cites its frame's blobs."""
FRAMES_PER_PASS = 50_000
"""Frames erased in one pass over the topics."""
FRAMES_PER_REQUEST, RECORDS_PER_WRITE, BLOBS_PER_CALL = 500, 1_000, 10_000
URIS_PER_REQUEST = 5_000
"""Blobs are not indexed fields: each request reads all points."""


@dataclass(slots=True)
class Eraser:
    """Erases what is due. One worker of a deployment does it, though two would do no harm.

    It waits after it reads a deletion. By then all workers, which read deletions every `watch_seconds`, write nothing
    more of these frames, and what was written before is on the topics.
    """

    backends: Backends
    deletions: Deletions
    retry: Retry
    clock: Clock
    watch_seconds: float
    _noted: dict[str, float] = field(default_factory=dict)
    """When (monotonic) the blobs of a frame's points were recorded here; from then on they are known."""
    _latest: Deletions = field(init=False)
    """Caught up before each pass, with what other workers have recorded since."""

    def __post_init__(self) -> None:
        self._latest = Deletions(self.backends.transport)

    async def note(self, frames: Sequence[str]) -> None:
        """Record which blobs the points of deleted frames cite, before these points are deleted.

        The record goes to `deletions`: another worker may be the one that erases, or this one may end before that.
        """
        pending = [frame for frame in frames if frame in self.deletions.pending]
        for page in pages(pending, FRAMES_PER_REQUEST):
            requested = (frame for frame in page if frame in self.deletions.pending)
            await self._note({frame: self.deletions.pending[frame] for frame in requested})

    async def _note(self, requested: Mapping[str, Deletion]) -> None:
        cited: dict[str, set[str]] = {}
        for collection in await self._frame_collections():
            for hit in await self._ask_index(partial(self.backends.index.get, collection, tuple(requested))):
                cited.setdefault(hit.id, set()).update(str(hit.payload.get(name) or "") for name in PAYLOAD)
        uris = {frame: {*requested[frame].uris, *found} - {""} for frame, found in cited.items()}
        extended = [replace(requested[frame], uris=tuple(sorted(known))) for frame, known in uris.items()]
        await self._publish([entry for entry in extended if set(entry.uris) > set(requested[entry.frame].uris)])
        self._noted |= dict.fromkeys(requested, self.clock.monotonic())

    async def _publish(self, deletions: Sequence[Deletion]) -> None:
        for page in pages(deletions, RECORDS_PER_WRITE):
            publish = partial(publish_deletions, self.backends.transport, page)
            await self.retry.forever("broker", publish, (Unavailable, LogFull))

    async def erase(self) -> int:
        """Erase what is due, and record it on `deletions`. Returns for how many frames."""
        pending = self.deletions.pending
        await self.note([frame for frame in pending if frame not in self._noted])
        self._noted = {frame: noted for frame, noted in self._noted.items() if frame in pending}
        settled = self.clock.monotonic() - SETTLE_WATCHES * self.watch_seconds
        due = [frame for frame, noted in self._noted.items() if noted <= settled][:FRAMES_PER_PASS]
        if due:
            await self.retry.forever("broker", self._latest.catch_up, Unavailable)
            pending = self._latest.pending
            await self._erase({frame: pending[frame] for frame in due if frame in pending})
        return len(due)

    async def _erase(self, due: Mapping[str, Deletion]) -> None:
        found = DueFrames(due, self.deletions, self.backends.transport, self.retry)
        await found.read()
        own = {frame: frozenset(uris) for frame, uris in found.blobs.items()}
        uris = set().union(*own.values()) - found.shared
        shared = await self._shared(uris, due) if uris else set()
        await found.read()  # what came meanwhile
        shared |= found.shared
        # One that was taken back stays. Of one whose records name more blobs now, who else cites them is not known yet.
        due = {
            frame: deletion
            for frame, deletion in due.items()
            if frame in self.deletions.pending and found.blobs[frame] == own[frame]
        }
        shared = shared.union(*(own[frame] for frame in own.keys() - due.keys()))
        blobs: dict[str, set[str]] = {}
        for frame, deletion in due.items():
            blobs.setdefault(deletion.tenant, set()).update(own[frame] - shared)
        for tenant, uris in blobs.items():
            for page in pages(sorted(uris), BLOBS_PER_CALL):
                await self._delete(tenant, page)
        unfinished = await self._erase_records({frame: found.places[frame] for frame in due if frame in found.places})
        due = {frame: deletion for frame, deletion in due.items() if frame not in unfinished}
        erased = utc(self.clock.now())
        # The receipt names all blobs: `forget verify` looks for them, also when older pictures have come back.
        done = [replace(deletion, erased=erased, uris=tuple(sorted(own[frame]))) for frame, deletion in due.items()]
        await self._publish(done)
        log.info("erased", frames=len(due), blobs=sum(map(len, blobs.values())), shared=len(shared))

    async def _kept(self) -> KeptFrames:
        kept = KeptFrames(self.backends.transport)
        await self.retry.forever("broker", kept.catch_up, Unavailable)
        return kept

    async def _erase_records(self, places: Mapping[str, Collection[Place]]) -> set[str]:
        """Remove the frames' records. Returns the frames of which a group has still to finish one."""
        transport = self.backends.transport
        owners: dict[Partition, dict[int, str]] = {}
        for frame, own in places.items():
            for partition, offset in own:
                owners.setdefault(partition, {})[offset] = frame
        left: set[str] = set()
        for partition, frames in owners.items():
            for page in pages(sorted(frames), RECORDS_PER_WRITE):
                erase = partial(transport.erase, partition, page)
                stay = await self.retry.forever("broker", erase, (Unavailable, LogFull))
                left |= {frames[offset] for offset in stay}
        return set() if transport.drops_unfinished else left  # there, retention drops them

    async def _shared(self, uris: set[str], due: Mapping[str, Deletion]) -> set[str]:
        """The `uris` that a kept frame or a point of another frame, which is not deleted, cites."""
        shared: set[str] = set()
        for frame, kept in (await self._kept()).frames.items():
            if frame not in self.deletions:
                shared |= uris.intersection(kept.uris)
        shared |= {uri + THUMBNAIL for uri in shared} & uris
        for collection in await self._frame_collections():
            for name in PAYLOAD:
                named = [uri for uri in uris - shared if uri.endswith(THUMBNAIL) == (name == "thumbnail")]
                for page in pages(sorted(named), URIS_PER_REQUEST):
                    async for payload in self._citing(collection, name, page):
                        if payload.get("frame") not in due:
                            shared.add(str(payload[name]))
        return shared

    async def _citing(self, collection: str, name: str, uris: Sequence[str]) -> AsyncIterator[dict[str, Any]]:
        """Payloads of the points that cite any of the blobs."""
        where, after = Filter(must=(Match(field=name, any_of=tuple(uris)),)), None
        while True:
            scroll = partial(self.backends.index.scroll, collection, where=where, limit=RECORDS_PER_WRITE, after=after)
            hits, after = await self._ask_index(scroll)
            for hit in hits:
                yield hit.payload
            if after is None:
                return

    async def _frame_collections(self) -> list[str]:
        collections = await self._ask_index(self.backends.index.collections)
        return sorted(name for name in collections if points.holds_frames(name))

    async def _ask_index(self, ask: Callable[[], Awaitable[T]]) -> T:
        return await self.retry.forever("index", ask, StoreUnavailable)

    async def _delete(self, tenant: str, uris: Sequence[str]) -> None:
        own = [uri for uri in uris if is_blob_of(uri, tenant)]
        if len(own) < len(uris):  # another tenant's, or no blob: nothing of this frame
            log.warning("not erased", uris=len(uris) - len(own), why=f"they name no blobs of tenant {tenant}")
        delete = partial(self.backends.blobs.delete_many, tenant, own)
        await self.retry.forever("blobs", delete, StoreUnavailable)
