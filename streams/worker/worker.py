"""The worker's life: open the stages, join the group, run the loop, drain, leave."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress

import structlog

from stores.errors import StoreUnavailable
from streams import plan as plans
from streams.backends import Backends
from streams.clock import Clock, SystemClock
from streams.errors import Fenced, Unavailable
from streams.metrics import Metrics
from streams.transport import Consumer, Partition
from streams.worker.assembly import make_core, make_loop_parts
from streams.worker.health import Health
from streams.worker.loop import WorkerLoop
from streams.worker.segment import SegmentSpec
from streams.worker.settings import WorkerSettings

log = structlog.get_logger()

CLOSE_SECONDS = 2.0
"""A stage that hangs in its lane must not hold up the exit: it is closed within this time, or not at all."""


class Worker:
    """One segment of a plan, from its topic to the next. The transport is open and its topics exist."""

    def __init__(
        self,
        backends: Backends,
        spec: SegmentSpec,
        settings: WorkerSettings,
        metrics: Metrics,
        clock: Clock | None = None,
    ) -> None:
        self._backends, self._spec, self._settings, self._metrics = backends, spec, settings, metrics
        self._clock = clock or SystemClock()
        self._core = make_core(backends, spec, settings, metrics, self._clock)
        self._retry, self._assignments = self._core.instruments.retry, self._core.assignments
        self._stopping = asyncio.Event()
        self._unassigned_since: float | None = None
        """Since when (monotonic) a rebalance keeps this worker without partitions."""

    @property
    def health(self) -> Health:
        return self._core.instruments.health

    def stop(self) -> None:
        """Finish what is in flight under the drain deadline, commit, leave. Safe to call at any time, repeatedly."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until `stop`. Raises what ended it otherwise (PlanError, WrongWeights, StageBroken, NewerVersion …).

        After an error `health` says so until the process is restarted.
        """
        try:
            plans.check(self._spec.plan, self._spec.shapes)
            await self._open()
            await self._work()
        except Exception as error:
            self.health.stopped(f"{type(error).__name__}: {error}")
            raise
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._core.segment.close()
            self._core.lanes.close()

    async def _open(self) -> None:
        """Models first: a member of the group that is not ready to work would only hold partitions."""
        await self._core.segment.open(self._settings.device)
        index = self._backends.index
        for alias, collection in self._spec.collections.items():
            await self._retry.forever("index", lambda a=alias, c=collection: index.ensure(c, a), StoreUnavailable)  # type: ignore[misc]
        topics = await self._retry.forever("broker", self._backends.transport.topics, Unavailable)
        self._deleted = await self._retry.forever("broker", self._core.deletions.catch_up, Unavailable)
        self._consumer = await self._join()
        parts = make_loop_parts(self._core, self._backends, self._spec, self._settings, self._consumer, topics)
        self._loop = WorkerLoop(self._core, parts, self._settings, self._is_eraser, self._failed)
        self.health.warmed()

    async def _join(self) -> Consumer:
        group = self._spec.plan.group(self._settings.group, self._spec.number)
        self._unassigned_since = self._clock.monotonic()
        return await self._retry.forever(
            "broker", lambda: self._backends.transport.consumer(group, [self._spec.topic_in], self), Unavailable
        )

    async def _work(self) -> None:
        """Run until told to stop or until something fails; then drain, and leave the group."""
        self._loop.start(self._deleted)
        try:
            await self._stopping.wait()
            await self._loop.drain("stop")
        finally:
            await self._loop.end()
            await self._leave()
        if self._loop.failure is not None:
            raise self._loop.failure

    def _failed(self, error: BaseException) -> None:
        self.health.stopped(f"{type(error).__name__}: {error}")
        log.error("worker_stops", error=str(error), kind=type(error).__name__)
        self._stopping.set()

    async def _leave(self) -> None:
        try:
            async with asyncio.timeout(self._settings.drain_seconds):
                await self._consumer.close()
        except (TimeoutError, Unavailable, Fenced) as error:
            log.warning("left_without_notice", error=str(error))

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
        if not self._assignments.offsets.epochs():
            self._unassigned_since = began
