"""The worker: takes records of one topic, leads their frames through a segment, writes what comes out, commits.

Four tasks run side by side: one polls, one hands batches over as the segment has room, one commits, one watches;
each batch is a task of its own. The first to fail stops them all; what is in flight is finished first.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress

import structlog

from processors.stage import AnyStage
from stores.blobs import BlobStore
from stores.errors import StoreUnavailable
from stores.index import CollectionSpec, Index
from streams import plan as plans
from streams.clock import Clock, Signal, SystemClock
from streams.errors import Fenced, Unavailable
from streams.lifecycle.deletions import Deletions
from streams.lifecycle.eraser import Eraser
from streams.metrics import Metrics
from streams.plan import Plan, StageShape
from streams.retry import Retry
from streams.tasks import Tasks
from streams.transport import Consumer, Partition, Transport
from streams.worker.batch_runner import BatchRunner
from streams.worker.batcher import Batcher
from streams.worker.committer import Committer
from streams.worker.crash_tracker import CrashTracker
from streams.worker.dispatcher import Dispatcher
from streams.worker.frame_encoder import FrameEncoder
from streams.worker.gauges import watch
from streams.worker.health import Health
from streams.worker.lanes import Lanes
from streams.worker.offsets import OffsetTracker
from streams.worker.originals import Originals
from streams.worker.poller import POLLED_BATCHES, Poller
from streams.worker.segment import Segment
from streams.worker.settings import WorkerSettings
from streams.worker.sinks import Sinks

log = structlog.get_logger()


CLOSE_SECONDS = 2.0
"""A stage that hangs in its lane must not hold up the exit: it is closed within this, or not at all."""

UNMARK_SECONDS = 1.0
"""Beyond the drain's deadline; where the broker itself is away it is in vain."""


class Worker:
    """One segment of `plan`, from its topic to the next.

    `stages` are the segment's, built and in order; `plan_stages` are the shapes (classes will do) of the whole
    plan's. `collections` are made sure of at start, by alias. The transport is open and its topics exist.
    """

    def __init__(
        self,
        *,
        transport: Transport,
        plan: Plan,
        segment: int,
        stages: Sequence[AnyStage],
        index: Index,
        blobs: BlobStore,
        settings: WorkerSettings,
        metrics: Metrics,
        plan_stages: Mapping[str, StageShape] | None = None,
        collections: Mapping[str, CollectionSpec] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._transport, self._index, self._blobs = transport, index, blobs
        self._plan, self._place, self._settings = plan, segment, settings
        self._plan_stages = plan_stages or plans.shapes(stages)
        self._collections = collections or {}
        self._clock, self._metrics = clock or SystemClock(), metrics
        self.health = Health(self._clock, settings.stall_seconds)
        self._retry = self._make_patience()
        self._tracker = OffsetTracker()
        self._attempts = CrashTracker(settings.isolate_after, POLLED_BATCHES * settings.batch_frames)
        self._lanes = Lanes(settings.cpu_threads)
        self._segment = self._make_segment(stages)
        self._batcher = Batcher(
            self._clock,
            frames=settings.batch_frames,
            size_bytes=settings.batch_bytes,
            linger_seconds=settings.linger_seconds,
        )
        self._arrived, self._freed, self._stopping = (Signal(self._clock) for _ in range(3))
        self._without_since: float | None = None
        """Since when (monotonic) a rebalance keeps this worker without partitions."""
        self._tasks = Tasks(self._failed)

    def stop(self) -> None:
        """Finish what is in flight under the drain deadline, commit, leave. Safe to call at any time, repeatedly."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until `stop`. Raises what ended it otherwise (PlanError, WrongWeights, StageBroken, NewerVersion …).

        After an error `health` says so until the process is started anew.
        """
        try:
            plans.check(self._plan, self._plan_stages)
            await self._open()
            await self._work()
        except Exception as error:
            self.health.stopped(f"{type(error).__name__}: {error}")
            raise
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._segment.close()
            self._lanes.close()

    # What a worker is made of

    def _make_patience(self) -> Retry:
        return Retry(
            self._clock,
            self.health,
            self._metrics,
            first_seconds=self._settings.backoff_seconds,
            most_seconds=self._settings.backoff_max_seconds,
        )

    def _make_segment(self, stages: Sequence[AnyStage]) -> Segment:
        return Segment(
            stages,
            self._plan_stages,
            lanes=self._lanes,
            retry=self._retry,
            clock=self._clock,
            metrics=self._metrics,
            worker=self._settings.name or f"{socket.gethostname()}-{os.getpid()}",
            is_current=self._tracker.is_current,
            shed_first=self._settings.shed_first,
        )

    async def _open(self) -> None:
        """Models first: a member of the group that is not ready to work would only hold partitions."""
        await self._segment.open(self._settings.device)
        for alias, spec in self._collections.items():
            await self._retry.forever("index", lambda a=alias, s=spec: self._index.ensure(s, a), StoreUnavailable)  # type: ignore[misc]
        self._sinks = await self._make_sinks()
        topic, group = self._plan.topic_into(self._place), self._plan.group(self._settings.group, self._place)
        self._without_since = self._clock.monotonic()
        self._consumer: Consumer = await self._retry.forever(
            "broker", lambda: self._transport.consumer(group, [topic], self), Unavailable
        )
        self._committer = self._make_committer()
        self._carrier = self._make_carrier()
        self._pump = self._make_pump()
        self._poller = self._make_poller()
        self.health.warmed()

    async def _make_sinks(self) -> Sinks:
        topics = await self._retry.forever("broker", self._transport.topics, Unavailable)
        outlet = FrameEncoder(
            topic=self._plan.topic_out_of(self._place),
            is_last=self._plan.is_last(self._place),
            model_set=self._settings.model_set,
            limits={name: spec.max_record_bytes for name, spec in topics.items()},
            inline_limit_bytes=self._settings.inline_limit_bytes,
            publish_embeddings=self._settings.publish_embeddings,
        )
        self._deletions = Deletions(self._transport)
        self._to_forget = await self._retry.forever("broker", self._deletions.catch_up, Unavailable)
        watched = self._deletions, self._retry, self._clock, self._settings.watch_seconds
        self._eraser = Eraser(self._transport, self._index, self._blobs, *watched, self._erases)
        return Sinks(
            outlet,
            self._transport,
            self._index,
            self._blobs,
            deletions=self._deletions,
            collections=[spec.name for spec in self._collections.values()],
            retry=self._retry,
            clock=self._clock,
            metrics=self._metrics,
        )

    def _make_committer(self) -> Committer:
        return Committer(
            self._consumer,
            self._tracker,
            self._attempts,
            self._sinks,
            atomic=self._transport.atomic,
            every_seconds=self._settings.commit_seconds,
            committed=self._freed.set,
            retry=self._retry,
            clock=self._clock,
            health=self.health,
            metrics=self._metrics,
        )

    def _make_carrier(self) -> BatchRunner:
        return BatchRunner(
            originals=Originals(self._blobs, self._deletions, self._retry, self._metrics),
            segment=self._segment,
            sinks=self._sinks,
            committer=self._committer,
            tracker=self._tracker,
            attempts=self._attempts,
            park=lambda flight, seconds: self._tasks.spawn(self._pump.put_back(flight, seconds)),
            settings=self._settings,
            clock=self._clock,
            metrics=self._metrics,
        )

    def _make_pump(self) -> Dispatcher:
        return Dispatcher(
            self._batcher,
            self._carrier,
            attempts=self._attempts,
            tracker=self._tracker,
            arrived=self._arrived,
            tasks=self._tasks,
            clock=self._clock,
        )

    def _make_poller(self) -> Poller:
        return Poller(
            self._consumer,
            router=self._segment.router,
            tracker=self._tracker,
            attempts=self._attempts,
            batcher=self._batcher,
            size_bytes=self._size_bytes,
            arrived=self._arrived,
            freed=self._freed,
            retry=self._retry,
            settings=self._settings,
            clock=self._clock,
            health=self.health,
            metrics=self._metrics,
        )

    def _size_bytes(self) -> int:
        return self._batcher.size_bytes + self._carrier.size_bytes

    # The loop

    async def _work(self) -> None:
        """Run until told to stop or until something fails; then drain, and leave the group."""
        for part in (self._poller, self._pump, self._committer, self._eraser):
            self._tasks.spawn(part.run())
        for task in (self._watch(), self._obey()):
            self._tasks.spawn(task)
        try:
            await self._stopping.wait()
            await self._drain("stop")
        finally:
            await self._leave()
        if self._tasks.failure is not None:
            raise self._tasks.failure

    async def _watch(self) -> None:
        await watch(
            self._consumer,
            self._tracker,
            self._sinks.recent,
            size_bytes=self._size_bytes,
            every_seconds=self._settings.watch_seconds,
            clock=self._clock,
            health=self.health,
            metrics=self._metrics,
        )

    async def _obey(self) -> None:
        """Follow deletions; what a batch wrote at the same moment it deletes itself, for it looks again afterwards."""
        while True:
            await self._eraser.note(self._to_forget)
            await self._sinks.forget(self._to_forget)
            await self._clock.sleep(self._settings.watch_seconds)
            self._to_forget = await self._retry.forever("broker", self._deletions.catch_up, Unavailable)

    def _erases(self) -> bool:
        """One worker of the last segment does it for all: the one that has the first partition."""
        first = Partition(self._plan.topic_into(self._place), 0)
        return self._plan.is_last(self._place) and first in self._consumer.assignment()

    # Rebalances and the end

    async def assigned(self, partitions: Mapping[Partition, int]) -> None:
        """From the transport: these are ours from now on; none, where others have them all."""
        self._forget(partitions)
        for partition, epoch in partitions.items():
            self._tracker.assign(partition, epoch, 0)
        self._metrics.rebalances.labels("assigned").inc(len(partitions))
        if self._without_since is not None:
            self._metrics.rebalance_seconds.observe(self._clock.monotonic() - self._without_since)
            self._without_since = None

    async def revoked(self, partitions: Sequence[Partition]) -> None:
        """From the transport: finish and commit these, then let go of them."""
        began = self._clock.monotonic()
        self._metrics.rebalances.labels("revoked").inc(len(partitions))
        await self._drain("revoke", partitions)
        self._forget(partitions)
        if not self._tracker.epochs():
            self._without_since = began

    def _forget(self, partitions: Mapping[Partition, int] | Sequence[Partition]) -> None:
        self._batcher.drop(set(partitions))
        self._attempts.revoke(partitions)
        self._tracker.revoke(partitions)
        self._segment.forget(set(partitions))

    async def _drain(self, cause: str, partitions: Sequence[Partition] | None = None) -> None:
        """Finish and commit what has begun, under the one deadline; what only waits is left for the next owner."""
        began = self._clock.monotonic()
        leaving = list(self._tracker.epochs()) if partitions is None else list(partitions)
        self._poller.draining = self._poller.draining or partitions is None
        self._tracker.leave(leaving)
        self._batcher.drop(set(leaving))
        try:
            async with asyncio.timeout(self._settings.drain_seconds):
                await self._carrier.idle(leaving)
                await self._committer.commit()
                await self._committer.unmark(leaving)
        except TimeoutError:
            log.warning("drain_unfinished", cause=cause, seconds=self._settings.drain_seconds, waits=self.health.waits)
            await self._unmark_shortly(leaving)
        self._metrics.drain_seconds.labels(cause).observe(self._clock.monotonic() - began)

    async def _unmark_shortly(self, partitions: Sequence[Partition]) -> None:
        """A stop that the drain's deadline cut short is no crash either."""
        with suppress(TimeoutError):
            async with asyncio.timeout(UNMARK_SECONDS):
                await self._committer.unmark(partitions)

    def _failed(self, error: BaseException) -> None:
        self.health.stopped(f"{type(error).__name__}: {error}")
        log.error("worker_stops", error=str(error), kind=type(error).__name__)
        self._stopping.set()

    async def _leave(self) -> None:
        """End every task, then leave the group; nothing of ours runs afterwards."""
        await self._tasks.cancel()
        try:
            async with asyncio.timeout(self._settings.drain_seconds):
                await self._consumer.close()
        except (TimeoutError, Unavailable, Fenced) as error:
            log.warning("left_without_notice", error=str(error))
