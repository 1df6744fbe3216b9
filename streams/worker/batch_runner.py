"""Carries batches from the waiting room to the offset tracker: originals, stages, sinks, finished.

As many batches compute at a time as the segment says; one more writes. Sinks take batches in the order they began,
which keeps each feed's events in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence

from streams.clock import Clock
from streams.errors import Fenced
from streams.metrics import Metrics
from streams.transport import Partition
from streams.worker.committer import Committer
from streams.worker.crash_mark import CrashMark
from streams.worker.crash_tracker import CrashTracker
from streams.worker.in_flight import Death, InFlightFrame
from streams.worker.lanes import Turns
from streams.worker.offsets import OffsetTracker, PendingCommit
from streams.worker.originals import STAGE as ORIGINAL_STAGE
from streams.worker.originals import Originals
from streams.worker.segment import Segment
from streams.worker.settings import WorkerSettings
from streams.worker.sinks import Sinks

MARK_HOLD_SECONDS = 0.1
"""A frame that kills the process when it is encoded or written does so at once; what takes longer waits for others."""
RETRY_COOLDOWN_SECONDS = 1.0
"""Before a frame under which the process died runs again, for each such death: kills from outside that come in a row
hit the pause, and a frame that kills does not care."""


class BatchRunner:
    """`park` is called for a frame whose original is not there yet: it comes again after the given seconds."""

    def __init__(
        self,
        *,
        originals: Originals,
        segment: Segment,
        sinks: Sinks,
        committer: Committer,
        tracker: OffsetTracker,
        attempts: CrashTracker,
        park: Callable[[InFlightFrame, float], None],
        settings: WorkerSettings,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._originals, self._segment, self._sinks = originals, segment, sinks
        self._committer, self._tracker, self._attempts = committer, tracker, attempts
        self._park, self._settings, self._clock, self._metrics = park, settings, clock, metrics
        self._numbers = 0
        self._active: dict[int, list[InFlightFrame]] = {}
        self.size_bytes = 0
        """What the frames being computed or written hold."""
        self._computing = asyncio.Semaphore(segment.depth(settings.device))
        self._sink_turns = Turns()
        self._ended = asyncio.Event()

    async def room(self) -> None:
        """Return when one more batch may compute; `begin` or `no_batch` must follow."""
        await self._computing.acquire()

    def begin(self, flights: list[InFlightFrame]) -> int:
        """Note the batch before anything is awaited; `carry` must follow with the number."""
        number, self._numbers = self._numbers, self._numbers + 1
        self._active[number] = flights
        self.size_bytes += sum([flight.size_bytes for flight in flights])
        return number

    def is_busy(self, partitions: Collection[Partition] | None = None) -> bool:
        """Whether frames of these partitions, or any, are being computed or written."""
        return any(
            partitions is None or flight.record.partition in partitions
            for flights in self._active.values()
            for flight in flights
        )

    async def idle(self, partitions: Collection[Partition] | None = None) -> None:
        while self.is_busy(partitions):
            await self.one_ended()

    async def one_ended(self) -> None:
        self._ended.clear()
        await self._ended.wait()

    async def carry(self, number: int, *, alone: bool) -> None:
        """Take the batch all the way. Raises StageBroken, and whatever else is no frame's fault.

        A batch that runs `alone` is committed before this returns.
        """
        flights = self._active[number]
        computing = True
        try:
            flights = await self._load(flights)
            flights = await (self._mark_alone(flights) if alone else self._mark(flights))
            if flights:
                await self._segment.run(number, flights)
                await self._sink_turns.enter(number)
                computing = False
                self._computing.release()
                await (self._write_alone(flights) if alone else self._write(flights))
        finally:
            if computing:
                self._computing.release()
            self._segment.leave(number)
            self._sink_turns.leave(number)
            self.size_bytes -= sum([flight.size_bytes for flight in self._active.pop(number)])
            self._ended.set()

    async def _mark(self, flights: list[InFlightFrame]) -> list[InFlightFrame]:
        """Make the start durable as an attempt; those that are still ours."""
        marks = self._attempts.mark(flight.record for flight in flights if flight.death is None)
        try:
            if marks:
                await self._committer.mark(marks)
        except Fenced:
            return self._still_ours(flights)
        return flights

    async def _mark_alone(self, flights: list[InFlightFrame]) -> list[InFlightFrame]:
        for flight in flights:
            if flight.death is None:
                await self._clock.sleep(RETRY_COOLDOWN_SECONDS * self._attempts.deaths(flight.record))
                committer = self._committer
                flight.mark = CrashMark(flight.record, self._attempts, committer.mark, committer.unmark)
                if not await flight.mark.put():
                    return self._still_ours(flights)
        return flights

    def _still_ours(self, flights: Sequence[InFlightFrame]) -> list[InFlightFrame]:
        """After a refused mark: the others are late, and of the same assignment whatever follows."""
        ours = self._ours(flights)
        self._metrics.late.inc(len(flights) - len(ours))
        return ours

    async def _load(self, flights: list[InFlightFrame]) -> list[InFlightFrame]:
        """Fetch originals; frames whose original is not there leave the batch, or die when that lasts too long."""
        absent = await self._originals.load(flights)
        now = self._clock.monotonic()
        parked = set()
        for flight in absent:
            flight.absent_since = now if flight.absent_since is None else flight.absent_since
            missed_seconds = now - flight.absent_since
            if missed_seconds >= self._settings.absent_seconds:
                message = f"not in the blob store for {missed_seconds:.0f} s: {flight.frame.image.uri}"
                flight.death = Death(ORIGINAL_STAGE, "absent_original", message)
            else:
                parked.add(flight)
                self._metrics.retries.labels("absent_original").inc()
                self._park(flight, min(max(missed_seconds, self._settings.backoff_seconds), 10.0))
        return [flight for flight in flights if flight not in parked] if parked else flights

    async def _write(self, flights: Sequence[InFlightFrame]) -> None:
        """Write what is still ours and count it as finished."""
        ours = self._ours(flights)
        self._finish(flights, ours, await self._sinks.write(ours) if ours else [])

    async def _write_alone(self, flights: Sequence[InFlightFrame]) -> None:
        """Marked for a moment at most, so that who is killed while the index or the broker is away convicts nobody.

        The mark is gone before the frame counts as finished: a flush and a commit may begin that moment.
        """
        ours = self._ours(flights)
        writing = asyncio.ensure_future(self._sinks.write(ours))
        moment = asyncio.ensure_future(self._clock.sleep(MARK_HOLD_SECONDS))
        try:
            await asyncio.wait((writing, moment), return_when=asyncio.FIRST_COMPLETED)
            for flight in flights:
                if flight.mark is not None:
                    await flight.mark.lift()
            self._finish(flights, ours, await writing)
        finally:
            moment.cancel()
            writing.cancel()
        await self._committer.commit()

    def _ours(self, flights: Sequence[InFlightFrame]) -> list[InFlightFrame]:
        epochs = self._tracker.epochs()
        return [one for one in flights if epochs.get(one.record.partition) == one.record.epoch]

    def _finish(
        self, flights: Sequence[InFlightFrame], ours: Sequence[InFlightFrame], outcomes: Sequence[PendingCommit]
    ) -> None:
        late = len(flights) - len(ours)
        for flight, outcome in zip(ours, outcomes, strict=True):
            record = flight.record
            late += not self._tracker.finish(record.partition, record.epoch, record.offset, outcome)
        self._metrics.late.inc(late)
        waiting = self._tracker.in_flight() - self._tracker.unfinished()
        self._committer.notify_finished(backlogged=2 * waiting >= self._settings.in_flight_frames)
