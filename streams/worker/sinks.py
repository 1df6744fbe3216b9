"""Writes what frames send out, in the one order that keeps the promise.

Thumbnails, then points (those of dead frames are deleted first), then records. Where the transport is atomic the
records wait for the commit, which releases them together with the offsets.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from itertools import chain
from operator import attrgetter

from msgspec.structs import replace

from processors.frame import Frame
from schemas import points
from stores.errors import Refused, StoreUnavailable
from stores.index import Filter, Match, Point
from stores.pages import pages
from streams.backends import Backends
from streams.clock import utc
from streams.errors import LogFull, StageBroken, Unavailable
from streams.lifecycle.deletions import Deletions, deletion_record
from streams.transport import NewRecord
from streams.worker.frame_encoder import EncodedFrame, FrameEncoder
from streams.worker.in_flight import Death, InFlightFrame
from streams.worker.instruments import Instruments
from streams.worker.offsets import PendingCommit
from streams.worker.stage_policy import FailureWindow
from streams.worker.vector_drift import VectorDrift

STAGE = "index"
"""Stands as `stage` in the dead letters of frames whose vectors the index refuses."""
TOPIC = attrgetter("topic")
MICROSECOND = timedelta(microseconds=1)
DELETED_PER_CALL = 256
"""A worker that starts deletes every deleted frame's points again; one call of the index must stay short."""
BROKER_AWAY = (Unavailable, LogFull)
CLOCK_SKEW_SECONDS, LONGEST_LATENCY_SECONDS = 60.0, 30 * 86_400.0
"""Producers' clocks may be ahead; no topic keeps frames longer than a month by default."""


class Sinks:
    """`collections` are those in which a dead frame may have left points."""

    def __init__(
        self,
        encoder: FrameEncoder,
        backends: Backends,
        deletions: Deletions,
        collections: Sequence[str],
        instruments: Instruments,
    ) -> None:
        self._encoder = encoder
        self._transport, self._index, self._blobs = backends.transport, backends.index, backends.blobs
        self._deletions, self._collections = deletions, tuple(collections)
        self._clock, self._metrics, self._retry = instruments.clock, instruments.metrics, instruments.retry
        self._failures = FailureWindow()
        self.drift = VectorDrift(instruments.metrics)
        self._unflushed = False
        """Points were written since the last flush."""

    @property
    def atomic(self) -> bool:
        """Whether records are held for the commit, which releases them together with the offsets."""
        return self._transport.atomic

    async def write(self, frames: Sequence[InFlightFrame]) -> list[PendingCommit]:
        """Write everything of a batch, waiting out outages; one pending commit per frame, in order.

        Nothing is written for a deleted frame, and its points are deleted. Raises StageBroken when the index refuses
        frame after frame: then the weights are wrong, not the frames.
        """
        if not self._deletions:
            return await self._write(frames)
        kept = [inflight for inflight in frames if inflight.frame.id not in self._deletions]
        written = dict(zip(kept, await self._write(kept), strict=True))
        gone = {inflight.frame.id: inflight.frame for inflight in frames if inflight.frame.id in self._deletions}
        await self.forget(sorted(gone))
        again = {frame.id: await self._erase_again(frame) for frame in gone.values()}
        return [again.get(inflight.frame.id) or written[inflight] for inflight in frames]

    async def _erase_again(self, frame: Frame) -> PendingCommit:
        """The request to erase an erased frame that has come again, with its record and perhaps its picture."""
        known = await self._retry.forever("broker", partial(self._deletions.latest, frame.id), Unavailable)
        if known is None or known.erased is None:
            return PendingCommit()
        uris = {*known.uris, frame.image.uri} - {""}
        again = replace(known, feed=frame.feed, uris=tuple(sorted(uris)), erased=None)
        if self.atomic:
            return PendingCommit([deletion_record(again)])
        await self._publish([deletion_record(again)])
        return PendingCommit()

    async def forget(self, frames: Sequence[str]) -> None:
        """Delete the points of deleted frames, by their ids, of every model set."""
        if not frames:
            return
        collections = await self._retry.forever("index", self._index.collections, StoreUnavailable)
        for page in pages(frames, DELETED_PER_CALL):
            for collection in filter(points.is_ours, sorted(collections)):
                await self._delete(collection, tuple(page))

    async def _write(self, frames: Sequence[InFlightFrame]) -> list[PendingCommit]:
        now = utc(self._clock.now())
        # a microsecond apart, so that a reader who compares times sees which state of a frame is the last
        encoded = [self._encoder.encode(inflight, now + number * MICROSECOND) for number, inflight in enumerate(frames)]
        have_points = any(entry.points for entry in encoded)
        if have_points:
            _keep_last_points(encoded)
        await self._write_thumbnails(encoded)
        await self._delete_points(encoded)
        if have_points:
            await self._write_points(encoded)
            encoded = [self._encoder.encode(entry.inflight, now) if _was_refused(entry) else entry for entry in encoded]
        pending = [_pending_commit(entry) for entry in encoded]
        if not self.atomic and pending:
            await self._publish([record for commit in pending for record in commit.outgoing])
            self.count_published(pending)
            pending = [PendingCommit()] * len(pending)
        self._count(encoded)
        return pending

    async def _publish(self, records: Sequence[NewRecord]) -> None:
        await self._retry.forever("broker", lambda: self._transport.publish(records), BROKER_AWAY)

    async def flush(self) -> None:
        """Return when every point written before this call survives a power cut."""
        if self._unflushed:
            self._unflushed = False
            try:
                await self._ask("flush", self._index.flush)
            except BaseException:
                self._unflushed = True
                raise

    async def _write_thumbnails(self, encoded: Sequence[EncodedFrame]) -> None:
        puts = [self._put(entry.inflight.frame.tenant, *entry.thumbnail) for entry in encoded if entry.thumbnail]
        await asyncio.gather(*puts)

    async def _put(self, tenant: str, uri: str, content: bytes) -> None:
        async def put() -> None:
            with self._metrics.blob_seconds.labels("put").time():
                await self._blobs.put(tenant, uri, content)

        await self._retry.forever("blobs", put, StoreUnavailable)

    async def _delete_points(self, encoded: Sequence[EncodedFrame]) -> None:
        """Of dead frames all points; of repeated frames those that are not about to be overwritten."""
        for collection in self._collections:
            frames = tuple(
                entry.frame_id
                for entry in encoded
                if entry.inflight.death is not None or (entry.inflight.repeated and not _rewritten(entry, collection))
            )
            if frames:
                await self._delete(collection, frames)

    async def _delete(self, collection: str, frames: tuple[str, ...]) -> None:
        where = Filter(must=(Match(field="frame", any_of=frames),))
        self._unflushed = True
        await self._ask("delete", lambda: self._index.delete(collection, where))

    async def _write_points(self, encoded: Sequence[EncodedFrame]) -> None:
        batches: dict[str, list[EncodedFrame]] = {}
        for entry in encoded:
            for collection in entry.points:
                batches.setdefault(collection, []).append(entry)
        if batches:
            self._unflushed = True
        await asyncio.gather(*(self._upsert(collection, entries) for collection, entries in batches.items()))

    async def _upsert(self, collection: str, encoded: Sequence[EncodedFrame]) -> None:
        """When points are refused, each frame is tried by itself: the others are not to blame."""
        batch = [point for entry in encoded for point in entry.points[collection]]
        try:
            await self._ask("upsert", lambda: self._index.upsert(collection, batch))
        except Refused as error:
            await self._refused(collection, encoded, error)
        else:
            self._failures.succeeded(len(encoded))
            self._metrics.points_out.labels(collection).inc(len(batch))
            self._note_vectors(batch)

    async def _refused(self, collection: str, encoded: Sequence[EncodedFrame], error: Refused) -> None:
        if len(encoded) > 1:
            for entry in encoded:
                await self._upsert(collection, [entry])
            return
        inflight = encoded[0].inflight
        if self._failures.failed(inflight.feed):
            raise StageBroken(f"the index refuses frame after frame, last with: {error}") from error
        inflight.death = Death(STAGE, "refused_by_index", str(error))
        for name in self._collections:
            await self._delete(name, (inflight.frame.id,))

    async def _ask(self, call: str, attempt: Callable[[], Awaitable[None]]) -> None:
        async def timed() -> None:
            with self._metrics.index_seconds.labels(call).time():
                await attempt()

        await self._retry.forever("index", timed, StoreUnavailable)

    def _note_vectors(self, batch: Sequence[Point]) -> None:
        for point in batch:
            if point.payload.get("frame") == point.id:
                self.drift.add(point.vectors)

    def _count(self, encoded: Sequence[EncodedFrame]) -> None:
        deaths = Counter((death.stage, death.reason) for entry in encoded if (death := entry.inflight.death))
        for labels, times in deaths.items():
            self._metrics.dead.labels(*labels).inc(times)
        for labels, times in Counter(skip for entry in encoded for skip in entry.skipped).items():
            self._metrics.skipped.labels(*labels).inc(times)

    def count_published(self, commits: Sequence[PendingCommit]) -> None:
        """Count records that are out now, and how long their frames took."""
        now = self._clock.now()
        outgoing = chain.from_iterable(commit.outgoing for commit in commits)
        for topic, records in Counter(map(TOPIC, outgoing)).items():
            self._metrics.events_out.labels(topic).inc(records)
        for commit in commits:
            if commit.ingested is not None and is_latency(now - commit.ingested):
                self._metrics.latency_seconds.observe(max(0.0, now - commit.ingested))
            if commit.captured is not None and is_latency(now - commit.captured):
                self._metrics.live_latency_seconds.observe(max(0.0, now - commit.captured))


def is_latency(seconds: float) -> bool:
    """Whether a time that a producer set may be one: a single one of year 1 would ruin the sums for good."""
    return -CLOCK_SKEW_SECONDS <= seconds <= LONGEST_LATENCY_SECONDS


def _keep_last_points(encoded: Sequence[EncodedFrame]) -> None:
    """A frame may stand in the batch more than once; its last state counts, because deletions come before points."""
    seen = set()
    for entry in reversed(encoded):
        if entry.frame_id in seen:
            entry.points = {}
        seen.add(entry.frame_id)


def _was_refused(entry: EncodedFrame) -> bool:
    """Encoded as alive, then refused by the index."""
    return entry.inflight.death is not None and bool(entry.points)


def _rewritten(entry: EncodedFrame, collection: str) -> bool:
    """Whether its only point in this collection will be overwritten: a frame's own, but not its regions'."""
    return collection in entry.points and points.holds_frames(collection)


def _pending_commit(entry: EncodedFrame) -> PendingCommit:
    frame = entry.inflight.frame
    if entry.inflight.death is not None or frame.published is None:
        return PendingCommit(entry.outgoing)
    captured = frame.captured.timestamp() if frame.captured and frame.kind == "frame" else None
    return PendingCommit(entry.outgoing, frame.ingested.timestamp(), captured)
