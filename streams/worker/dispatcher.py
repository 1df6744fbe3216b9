"""Hands batches of waiting frames to the carrier as it has room, and a frame that is under suspicion alone."""

from __future__ import annotations

from streams.clock import Clock, Signal
from streams.tasks import Tasks
from streams.worker.batch_runner import BatchRunner
from streams.worker.batcher import Batcher
from streams.worker.crash_tracker import CrashTracker
from streams.worker.in_flight import InFlightFrame
from streams.worker.offsets import OffsetTracker


class Dispatcher:
    """`arrived` is set when frames wait; every batch is one of `tasks`."""

    def __init__(
        self,
        batcher: Batcher,
        carrier: BatchRunner,
        *,
        attempts: CrashTracker,
        tracker: OffsetTracker,
        arrived: Signal,
        tasks: Tasks,
        clock: Clock,
    ) -> None:
        self._batcher, self._carrier = batcher, carrier
        self._attempts, self._tracker = attempts, tracker
        self._arrived, self._tasks, self._clock = arrived, tasks, clock
        self._alone = False

    async def run(self) -> None:
        """For ever: hand a batch over whenever there is room for one more."""
        while True:
            await self._carrier.room()
            flights = await self._next_batch()
            self._tasks.spawn(self._carry(self._carrier.begin(flights), alone=self._alone))

    async def put_back(self, flight: InFlightFrame, seconds: float) -> None:
        """Let a frame wait again, after `seconds`; not if its partition is leaving by then: the next owner has it."""
        await self._clock.sleep(seconds)
        if self._tracker.takes(flight.record.partition, flight.record.epoch):
            self._batcher.put(flight)
            self._arrived.set()

    async def _next_batch(self) -> list[InFlightFrame]:
        """The batcher's, or a single suspect when nothing else runs."""
        while True:
            self._arrived.clear()
            suspects = self._suspects() if self._attempts.suspicious else []
            if self._alone or (suspects and self._carrier.is_busy()):
                await self._carrier.one_ended()
            elif suspect := next(filter(self._is_first, suspects), None):
                self._alone = True
                return [self._batcher.take_first(suspect.record.partition)]
            elif not suspects and (batch := self._batcher.take()):
                return batch
            else:
                await self._arrived.wait(None if suspects else self._batcher.wait_seconds())

    def _suspects(self) -> list[InFlightFrame]:
        return [one for one in self._batcher if self._attempts.suspects(one.record)]

    def _is_first(self, suspect: InFlightFrame) -> bool:
        """Its mark stands at its own offset: nothing before it may be unfinished, not even what waits for its blob."""
        return self._tracker.first(suspect.record.partition) in (None, suspect.record.offset)

    async def _carry(self, number: int, *, alone: bool) -> None:
        try:
            await self._carrier.carry(number, alone=alone)
        finally:
            self._alone = False if alone else self._alone
