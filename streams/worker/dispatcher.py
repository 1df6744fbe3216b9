"""Chooses the frames of the next batch: what waits, or a single suspect while nothing else runs."""

from __future__ import annotations

from streams.clock import Signal
from streams.worker.assignment import Assignments
from streams.worker.batch_runner import BatchRunner
from streams.worker.in_flight import Batch, InFlightFrame


class Dispatcher:
    """`arrived` is set whenever a frame begins to wait."""

    def __init__(self, assignments: Assignments, runner: BatchRunner, arrived: Signal) -> None:
        self._waiting, self._crashes, self._offsets = assignments.waiting, assignments.crashes, assignments.offsets
        self._runner, self._arrived = runner, arrived

    async def next_batch(self) -> Batch:
        """Wait for frames and begin their batch. The caller has taken a place by `BatchRunner.has_room`."""
        while True:
            self._arrived.clear()
            suspects = self._suspects() if self._crashes.suspicious else []
            if self._runner.runs_alone or (suspects and self._runner.is_busy()):
                await self._runner.batch_ended()
            elif suspect := next(filter(self._is_first, suspects), None):
                return self._runner.begin([self._waiting.take_first(suspect.record.partition)], alone=True)
            elif not suspects and (frames := self._waiting.take()):
                return self._runner.begin(frames, alone=False)
            else:
                await self._arrived.wait(None if suspects else self._waiting.wait_seconds())

    def _suspects(self) -> list[InFlightFrame]:
        return [inflight for inflight in self._waiting if self._crashes.suspects(inflight.record)]

    def _is_first(self, suspect: InFlightFrame) -> bool:
        """Its mark stands at its own offset: nothing before it may be unfinished, also not what waits for its blob."""
        return self._offsets.first(suspect.record.partition) in (None, suspect.record.offset)
