"""Writes what frames send out, in the one order that keeps the promise.

Thumbnails, then points (those of dead frames are deleted first), then records. Where the transport is atomic the
records wait for the commit, which releases them together with the offsets.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from itertools import chain
from operator import attrgetter

from schemas import points
from stores.blobs import BlobStore
from stores.errors import Refused, StoreUnavailable
from stores.index import Filter, Index, Match, Point
from streams.clock import Clock
from streams.errors import LogFull, StageBroken, Unavailable
from streams.lifecycle.deletions import Deletions
from streams.metrics import Metrics
from streams.retry import Retry
from streams.transport import NewRecord, Transport
from streams.worker.frame_encoder import EncodedFrame, FrameEncoder, utc
from streams.worker.in_flight import Death, InFlightFrame
from streams.worker.offsets import PendingCommit
from streams.worker.stage_policy import FailureWindow
from streams.worker.vector_drift import VectorDrift

STAGE = "index"
"""Stands as `stage` in the dead letters of frames whose vectors the index refuses."""
TOPIC = attrgetter("topic")
MICROSECOND = timedelta(microseconds=1)
FORGOTTEN_AT_ONCE = 256
"""A worker that starts forgets every deleted frame again; one call of the index must stay short."""
BROKER_AWAY = (Unavailable, LogFull)


class Sinks:
    """`collections` are those that exist, in which a dead frame may have left points."""

    def __init__(
        self,
        outlet: FrameEncoder,
        transport: Transport,
        index: Index,
        blobs: BlobStore,
        *,
        deletions: Deletions,
        collections: Sequence[str],
        retry: Retry,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._outlet = outlet
        self._transport = transport
        self._index = index
        self._blobs = blobs
        self._deletions = deletions
        self._collections = tuple(collections)
        self._retry = retry
        self._clock = clock
        self._metrics = metrics
        self._suspicion = FailureWindow()
        self.recent = VectorDrift(metrics)
        self.unflushed = False
        """Points were written since the last flush; whoever commits flushes first."""

    async def write(self, flights: Sequence[InFlightFrame]) -> list[PendingCommit]:
        """Write everything for a batch, waiting out what is away; one outcome per flight, in order.

        Of a frame that was deleted nothing is written, and its points are deleted. Raises StageBroken when the index
        refuses frame after frame: wrong weights, not wrong frames.
        """
        if not self._deletions:
            return await self._write(flights)
        kept = [flight for flight in flights if flight.frame.id not in self._deletions]
        written = dict(zip(kept, await self._write(kept), strict=True))
        gone = {flight.frame.id for flight in flights if flight.frame.id in self._deletions}
        await self.forget(sorted(gone))
        return [PendingCommit() if flight.frame.id in gone else written[flight] for flight in flights]

    async def forget(self, frames: Sequence[str]) -> None:
        """Delete the points of deleted frames."""
        for at in range(0, len(frames), FORGOTTEN_AT_ONCE):
            for collection in self._collections:
                await self._delete(collection, tuple(frames[at : at + FORGOTTEN_AT_ONCE]))

    async def _write(self, flights: Sequence[InFlightFrame]) -> list[PendingCommit]:
        now = utc(self._clock.now())
        # a microsecond apart, so that whoever compares times sees which of a frame's states is the last
        outbound = [self._outlet.prepare(flight, now + number * MICROSECOND) for number, flight in enumerate(flights)]
        have_points = any(one.points for one in outbound)
        if have_points:
            _keep_last_points(outbound)
        await self._write_thumbnails(outbound)
        await self._delete_points(outbound)
        if have_points:
            await self._write_points(outbound)
            outbound = [self._outlet.prepare(one.flight, now) if _died_here(one) else one for one in outbound]
        outcomes = [_outcome(one) for one in outbound]
        if not self._transport.atomic and outcomes:
            await self.publish([record for outcome in outcomes for record in outcome.outgoing])
            self._count_published(outcomes)
            outcomes = [PendingCommit()] * len(outcomes)
        self._count(outbound)
        return outcomes

    async def publish(self, records: Sequence[NewRecord]) -> None:
        await self._retry.forever("broker", lambda: self._transport.publish(records), BROKER_AWAY)

    async def flush(self) -> None:
        """Return when every point written before this call survives a power cut."""
        if self.unflushed:
            self.unflushed = False
            try:
                await self._ask("flush", self._index.flush)
            except BaseException:
                self.unflushed = True
                raise

    def published(self, outcomes: Sequence[PendingCommit]) -> None:
        """These frames' records are out (with the commit)."""
        self._count_published(outcomes)

    async def _write_thumbnails(self, outbound: Sequence[EncodedFrame]) -> None:
        await asyncio.gather(
            *(self._put(one.flight.frame.tenant, *one.thumbnail) for one in outbound if one.thumbnail is not None)
        )

    async def _put(self, tenant: str, uri: str, content: bytes) -> None:
        async def put() -> None:
            with self._metrics.blob_seconds.labels("put").time():
                await self._blobs.put(tenant, uri, content)

        await self._retry.forever("blobs", put, StoreUnavailable)

    async def _delete_points(self, outbound: Sequence[EncodedFrame]) -> None:
        """Of dead frames all points; of frames that may have been here before those that are not written anew."""
        for collection in self._collections:
            frames = tuple(
                one.flight.frame.id
                for one in outbound
                if one.flight.death is not None or (one.flight.repeated and not _rewritten(one, collection))
            )
            if frames:
                await self._delete(collection, frames)

    async def _delete(self, collection: str, frames: tuple[str, ...]) -> None:
        where = Filter(must=(Match(field="frame", any_of=frames),))
        self.unflushed = True
        await self._ask("delete", lambda: self._index.delete(collection, where))

    async def _write_points(self, outbound: Sequence[EncodedFrame]) -> None:
        batches: dict[str, list[EncodedFrame]] = {}
        for one in outbound:
            for collection in one.points:
                batches.setdefault(collection, []).append(one)
        if batches:
            self.unflushed = True
        await asyncio.gather(*(self._upsert(collection, ones) for collection, ones in batches.items()))

    async def _upsert(self, collection: str, outbound: Sequence[EncodedFrame]) -> None:
        """Refused points are looked for one frame at a time: the others are not to blame."""
        batch = [point for one in outbound for point in one.points[collection]]
        try:
            await self._ask("upsert", lambda: self._index.upsert(collection, batch))
        except Refused as error:
            await self._refused(collection, outbound, error)
        else:
            self._suspicion.succeeded(len(outbound))
            self._metrics.points_out.labels(collection).inc(len(batch))
            self._note_vectors(batch)

    async def _refused(self, collection: str, outbound: Sequence[EncodedFrame], error: Refused) -> None:
        if len(outbound) > 1:
            for one in outbound:
                await self._upsert(collection, [one])
            return
        flight = outbound[0].flight
        if self._suspicion.failed(flight.feed):
            raise StageBroken(f"the index refuses frame after frame, last with: {error}") from error
        flight.death = Death(STAGE, "refused_by_index", str(error))
        for name in self._collections:
            await self._delete(name, (flight.frame.id,))

    async def _ask(self, call: str, attempt: Callable[[], Awaitable[None]]) -> None:
        async def timed() -> None:
            with self._metrics.index_seconds.labels(call).time():
                await attempt()

        await self._retry.forever("index", timed, StoreUnavailable)

    def _note_vectors(self, batch: Sequence[Point]) -> None:
        for point in batch:
            if point.payload.get("frame") == point.id:
                self.recent.add(point.vectors)

    def _count(self, outbound: Sequence[EncodedFrame]) -> None:
        deaths = Counter((death.stage, death.reason) for one in outbound if (death := one.flight.death))
        for labels, times in deaths.items():
            self._metrics.dead.labels(*labels).inc(times)
        for labels, times in Counter(skip for one in outbound for skip in one.skipped).items():
            self._metrics.skipped.labels(*labels).inc(times)

    def _count_published(self, outcomes: Sequence[PendingCommit]) -> None:
        now = self._clock.now()
        outgoing = chain.from_iterable(one.outgoing for one in outcomes)
        for topic, records in Counter(map(TOPIC, outgoing)).items():
            self._metrics.events_out.labels(topic).inc(records)
        for outcome in outcomes:
            if outcome.ingested is not None:
                self._metrics.latency_seconds.observe(max(0.0, now - outcome.ingested))
            if outcome.captured is not None:
                self._metrics.live_latency_seconds.observe(max(0.0, now - outcome.captured))


def _keep_last_points(outbound: Sequence[EncodedFrame]) -> None:
    """Of a frame that stands in the batch more than once the last state counts: deletions come before points."""
    seen = set()
    for one in reversed(outbound):
        if one.flight.frame.id in seen:
            one.points = {}
        seen.add(one.flight.frame.id)


def _died_here(one: EncodedFrame) -> bool:
    """Prepared as alive, then refused by the index."""
    return one.flight.death is not None and bool(one.points)


def _rewritten(one: EncodedFrame, collection: str) -> bool:
    """Its only point in this collection will be written over: a frame's own, but not its regions'."""
    return collection in one.points and points.holds_frames(collection)


def _outcome(one: EncodedFrame) -> PendingCommit:
    frame = one.flight.frame
    if one.flight.death is not None or frame.published is None:
        return PendingCommit(one.outgoing)
    captured = frame.captured.timestamp() if frame.captured else None
    return PendingCommit(one.outgoing, frame.ingested.timestamp(), captured)
