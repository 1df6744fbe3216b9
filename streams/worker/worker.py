"""The worker's life: open the stages, join the group, run the loop, drain, leave."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Literal, TypeAlias

import structlog

from schemas import topics
from stores.errors import StoreUnavailable
from streams import plan as plans
from streams.backends import Backends
from streams.errors import Fenced, Unavailable
from streams.metrics import Metrics
from streams.readiness.health import Health
from streams.tasks import unless_stopped
from streams.transport import Consumer, Partition
from streams.worker.assembly import make_core, make_loop_parts
from streams.worker.instruments import Instruments
from streams.worker.loop import WorkerLoop
from streams.worker.poller import LOST_RECORDS
from streams.worker.segment import SegmentSpec
from streams.worker.settings import WorkerSettings

log = structlog.get_logger()

LEAVE_SECONDS = 5.0
"""Leaving the group lets other members go on sooner; a broker that is away must not hold up the exit."""
CLOSE_SECONDS = 2.0
"""A stage that hangs in its lane must not hold up the exit: it is closed within this time, or not at all."""
CLOSE_OPENING_SECONDS = 0.2
"""The same for stages that were told to stop while they load: nothing of theirs has to be closed."""

End: TypeAlias = Literal["committed", "unfinished", "not_begun"]
"""How a worker ended that was told to stop: all that was in flight is committed, some of it is not and will be
processed again, or it had not begun to take records."""


class Worker:
    """One segment of a plan, from its topic to the next. The transport is open and its topics exist."""

    def __init__(
        self, backends: Backends, spec: SegmentSpec, settings: WorkerSettings, instruments: Instruments
    ) -> None:
        self._backends, self._spec, self._settings = backends, spec, settings
        self._clock, self._metrics, self._retry = instruments.clock, instruments.metrics, instruments.retry
        self._core = make_core(backends, spec, settings, instruments)
        self._assignments = self._core.assignments
        self._stopping = asyncio.Event()
        self.end: End = "not_begun"
        """How `run` ended, once it has returned."""
        self._unassigned_since: float | None = None
        """Since when (monotonic) a rebalance keeps this worker without partitions."""

    @property
    def health(self) -> Health:
        return self._core.instruments.health

    def stop(self) -> None:
        """Finish what is in flight under the drain deadline, commit, leave. Safe to call at any time, repeatedly.

        Before the worker has joined its group nothing is in flight: opening is given up.
        """
        self._stopping.set()

    async def run(self) -> None:
        """Work until `stop`. Raises what ended it otherwise (PlanError, WrongWeights, StageBroken, NewerVersion …).

        After an error `health` says so until the process is restarted.
        """
        try:
            plans.check(self._spec.plan, self._spec.shapes)
            _declare_series(self._metrics, self._spec)
            if (loop := await unless_stopped(self._stopping, self._open())) is not None:
                self.end = await self._work(loop)
        except Exception as error:
            self.health.stopped(f"{type(error).__name__}: {error}")
            raise
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_OPENING_SECONDS if self.end == "not_begun" else CLOSE_SECONDS):
                    await self._core.segment.close()
            self._core.lanes.close()

    async def _open(self) -> WorkerLoop:
        """Models first: a member of the group that is not ready to work would only hold partitions."""
        await self._core.segment.open(self._settings.device)
        index = self._backends.index
        for alias, collection in self._spec.collections.items():
            await self._retry.connect("index", lambda a=alias, c=collection: index.ensure(c, a), StoreUnavailable)  # type: ignore[misc]
        specs = await self._retry.connect("broker", self._backends.transport.topics, Unavailable)
        self._deleted = await self._retry.connect("broker", self._core.deletions.catch_up, Unavailable)
        self._consumer = await self._join()
        parts = make_loop_parts(self._core, self._backends, self._spec, self._settings, self._consumer, specs)
        self._loop = WorkerLoop(self._core, parts, self._settings, self._is_eraser, self._failed)
        self.health.warmed()
        return self._loop

    async def _join(self) -> Consumer:
        group = self._spec.plan.group(self._settings.group, self._spec.number)
        self._unassigned_since = self._clock.monotonic()
        return await self._retry.connect(
            "broker", lambda: self._backends.transport.consumer(group, [self._spec.topic_in], self), Unavailable
        )

    async def _work(self, loop: WorkerLoop) -> End:
        """Run until told to stop or until something fails; then drain, and leave the group."""
        loop.start(self._deleted)
        try:
            await self._stopping.wait()
            committed = await loop.drain("stop")
        finally:
            await loop.end()
            await self._leave()
        if loop.failure is not None:
            raise loop.failure
        return "committed" if committed else "unfinished"

    async def keep_storage(self) -> None:
        """Remove what retention takes now. Another worker that does the same at this moment does no harm."""
        if self._core.upkeep is not None and self._spec.is_last:
            await self._core.upkeep.run_now()

    def _failed(self, error: BaseException) -> None:
        self.health.stopped(f"{type(error).__name__}: {error}")
        log.error("worker_stops", error=str(error), kind=type(error).__name__)
        self._stopping.set()

    async def _leave(self) -> None:
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._consumer.close()
        except (TimeoutError, Unavailable, Fenced) as error:
            log.warning("left_without_notice", error=str(error) or type(error).__name__)

    def _is_eraser(self) -> bool:
        """One worker of the last segment erases for all: the one that has the first partition."""
        return self._spec.is_last and Partition(self._spec.topic_in, 0) in self._consumer.assignment()

    # Called by the transport

    async def assigned(self, partitions: Mapping[Partition, int]) -> None:
        """These partitions are ours from now on; none, where other members have them all."""
        self._assignments.assign(partitions)
        self._metrics.rebalances.labels("assigned").inc(len(partitions))
        if self._unassigned_since is not None:
            self._metrics.rebalance_seconds.observe(self._clock.monotonic() - self._unassigned_since)
            self._unassigned_since = None

    async def revoked(self, partitions: Sequence[Partition]) -> None:
        """Finish and commit these partitions, then give up everything of them."""
        began = self._clock.monotonic()
        self._metrics.rebalances.labels("revoked").inc(len(partitions))
        await self._loop.drain("revoke", partitions)
        self._assignments.release(partitions)
        self.health.all_give_up(LOST_RECORDS)
        if not self._assignments.offsets.epochs():
            self._unassigned_since = began


def _declare_series(metrics: Metrics, spec: SegmentSpec) -> None:
    metrics.declare(
        topic_in=spec.topic_in,
        topics_out=(spec.topic_out, topics.OBSERVED, topics.DEAD),
        stages=[stage.name for stage in spec.stages],
        collections=[collection.name for collection in spec.collections.values()],
    )
