"""A worker's loop, from a poll to a commit.

| task | does | calls | flows back |
|---|---|---|---|
| `_poll` | takes records while there is room, queues their frames | `Poller.poll` | `arrived` wakes `_dispatch` |
| `_dispatch` | begins a batch when the segment has room for one more | `Dispatcher.next_batch` | one `_run` per batch |
| `_run` | leads a batch through originals, stages and sinks | `BatchRunner` | `notify_finished` wakes the committer; \
a frame whose original is absent waits again (`_park`) |
| `Committer.run` | commits the finished prefix, after the flush that covers its points | `Consumer.commit` | \
`room_freed` wakes `_poll` |
| `_watch` | updates gauges and the lag | `Gauges.update` | |
| `Probes` | asks whether what an idle worker does not use is there | `Transport.ends`, `Index.get`, \
`BlobStore.get` | |
| `_delete` | deletes the points of frames that people asked to forget | `Sinks.forget` | |
| `_erase` | erases their blobs, in one worker of the deployment | `Eraser.erase` | |
| `_keep_storage` | removes what retention takes, and reports the storage, in the same worker | `StorageUpkeep.run` | |

The first task that fails stops them all; what is in flight is finished first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog

from streams.errors import Unavailable
from streams.tasks import Tasks
from streams.transport import Partition
from streams.worker.assembly import Core, LoopParts
from streams.worker.batch_runner import Parked
from streams.worker.in_flight import Batch
from streams.worker.settings import WorkerSettings

log = structlog.get_logger()

KEEP_ALIVE_SECONDS = 0.5
"""How often membership is kept alive while there is no room for records."""
UNMARK_SECONDS = 1.0
"""For taking marks back after the drain's deadline; in vain where the broker itself is away."""


class WorkerLoop:
    """`failed` hears of the first error. `is_eraser` says whether this worker erases blobs at this moment."""

    def __init__(
        self,
        core: Core,
        parts: LoopParts,
        settings: WorkerSettings,
        is_eraser: Callable[[], bool],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._assignments, self._deletions, self._eraser = core.assignments, core.deletions, core.eraser
        self._upkeep = core.upkeep
        self._poller, self._dispatcher, self._runner = parts.poller, parts.dispatcher, parts.runner
        self._committer, self._sinks, self._gauges = parts.committer, parts.sinks, parts.gauges
        self._probes, self._arrived, self._room_freed = parts.probes, parts.arrived, parts.room_freed
        self._clock, self._retry = core.instruments.clock, core.instruments.retry
        self._metrics, self._health = core.instruments.metrics, core.instruments.health
        self._settings, self._is_eraser = settings, is_eraser
        self._tasks = Tasks(failed)
        self._stopping = False

    # From a poll to a commit

    def start(self, deleted: Sequence[str]) -> None:
        """Start every task. `deleted` are the frames on the `deletions` topic as the worker opened."""
        for task in (
            self._poll(),
            self._dispatch(),
            self._committer.run(),
            self._watch(),
            self._delete(deleted),
            self._erase(),
            self._keep_storage(),
            *(probe() for probe in self._probes),
        ):
            self._tasks.spawn(task)

    async def _poll(self) -> None:
        while True:
            room = 0 if self._stopping else self._poller.room(self._held_bytes())
            if room <= 0:
                self._room_freed.clear()
                await self._poller.keep_alive()
                await self._room_freed.wait(KEEP_ALIVE_SECONDS)
            elif await self._poller.poll(room):
                self._arrived.set()

    async def _dispatch(self) -> None:
        while True:
            await self._runner.has_room()
            self._tasks.spawn(self._run(await self._dispatcher.next_batch()))

    async def _run(self, batch: Batch) -> None:
        try:
            for parked in await self._runner.load(batch):
                self._tasks.spawn(self._park(parked))
            await self._runner.mark(batch)
            if batch.frames:
                await self._runner.compute(batch)
                await self._runner.write(batch)
                self._committer.notify_finished(backlogged=self._is_backlogged())
            if batch.frames and batch.alone:
                await self._committer.commit()
        finally:
            self._runner.end(batch)

    async def _park(self, parked: Parked) -> None:
        """Let the frame wait again after its pause, unless its partition is leaving: the next owner has it then."""
        await self._clock.sleep(parked.pause_seconds)
        record = parked.frame.record
        if self._assignments.offsets.takes(record.partition, record.epoch):
            self._assignments.waiting.put(parked.frame)
            self._arrived.set()

    def _is_backlogged(self) -> bool:
        """Whether frames that wait for a commit take half of the room or more."""
        offsets = self._assignments.offsets
        return 2 * (offsets.in_flight() - offsets.unfinished()) >= self._settings.in_flight_frames

    def _held_bytes(self) -> int:
        return self._assignments.waiting.size_bytes + self._runner.size_bytes

    # Beside it

    async def _watch(self) -> None:
        while True:
            began = self._clock.monotonic()
            await self._clock.sleep(self._settings.watch_seconds)
            delay = self._clock.monotonic() - began - self._settings.watch_seconds
            await self._gauges.update(loop_delay_seconds=delay, held_bytes=self._held_bytes())

    async def _delete(self, deleted: Sequence[str]) -> None:
        """Follow `deletions`. What a batch writes at the same moment it deletes itself: it looks again afterwards."""
        while True:
            await self._eraser.note(deleted)
            await self._sinks.forget(deleted)
            await self._clock.sleep(self._settings.watch_seconds)
            deleted = await self._retry.forever("broker", self._deletions.catch_up, Unavailable)

    async def _erase(self) -> None:
        """Beside the rest, because whole topics are read."""
        while True:
            await self._clock.sleep(self._settings.watch_seconds)
            if self._is_eraser():
                await self._eraser.erase()

    async def _keep_storage(self) -> None:
        """As `_erase`: whatever is read or listed for it takes a small share of the time."""
        while self._upkeep is not None:
            if self._is_eraser():
                await self._upkeep.run()
            await self._clock.sleep(self._settings.watch_seconds)

    # The end of an assignment, and of the work

    async def drain(self, cause: str, partitions: Sequence[Partition] | None = None) -> bool:
        """Finish and commit what has begun of these partitions, or of all and for good, under the one deadline.

        Frames that only wait are left for the next owner. Returns whether all that had begun is committed.
        """
        began = self._clock.monotonic()
        leaving = list(self._assignments.offsets.epochs()) if partitions is None else list(partitions)
        self._stopping = self._stopping or partitions is None
        self._assignments.close(leaving)
        waits, committed = self._health.waits, False
        try:
            async with asyncio.timeout(self._settings.drain_seconds):
                await self._runner.idle(leaving)
                committed = await self._committer.commit()
                await self._committer.unmark(leaving)
        except TimeoutError:
            committed, waits = False, waits | self._health.waits
            log.warning("drain_unfinished", cause=cause, seconds=self._settings.drain_seconds, waits=waits)
            await self._unmark_briefly(leaving)
        self._metrics.drain_seconds.labels(cause).observe(self._clock.monotonic() - began)
        return committed

    async def _unmark_briefly(self, partitions: Sequence[Partition]) -> None:
        """A stop that the drain's deadline cut short is no crash either."""
        with suppress(TimeoutError):
            async with asyncio.timeout(UNMARK_SECONDS):
                await self._committer.unmark(partitions)

    async def end(self) -> None:
        """Cancel every task; none runs afterwards."""
        await self._tasks.cancel()

    @property
    def failure(self) -> BaseException | None:
        """The first error of any task."""
        return self._tasks.failure
