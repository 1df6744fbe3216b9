"""The steps of one batch: originals, crash marks, stages, sinks, offsets. `loop.py` calls them in this order.

As many batches compute at a time as the segment allows; one more writes. Sinks take batches in the order they began,
which keeps each feed's events in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import NamedTuple

from streams.errors import Fenced
from streams.transport import Partition
from streams.worker.assignment import Assignments
from streams.worker.committer import Committer
from streams.worker.crash_mark import CrashMark
from streams.worker.in_flight import Batch, Death, InFlightFrame
from streams.worker.instruments import Instruments
from streams.worker.lanes import Turns
from streams.worker.offsets import PendingCommit
from streams.worker.originals import STAGE as ORIGINAL_STAGE
from streams.worker.originals import Originals
from streams.worker.segment import Segment
from streams.worker.settings import WorkerSettings
from streams.worker.sinks import Sinks

MARK_HOLD_SECONDS = 0.1
"""A frame that kills the process when it is encoded or written does so at once; whatever takes longer is a wait."""
RETRY_COOLDOWN_SECONDS = 1.0
"""Pause before a frame under which the process died runs again, for each such death: a series of kills from outside
hits the pause, and a poison frame kills all the same."""
LONGEST_ABSENCE_PAUSE_SECONDS = 10.0
"""An original that is late by minutes is looked for this often."""


class Parked(NamedTuple):
    """A frame whose original is not there yet; it waits again after the pause."""

    frame: InFlightFrame
    pause_seconds: float


class BatchRunner:
    def __init__(
        self,
        originals: Originals,
        segment: Segment,
        sinks: Sinks,
        committer: Committer,
        assignments: Assignments,
        settings: WorkerSettings,
        instruments: Instruments,
    ) -> None:
        self._originals, self._segment, self._sinks, self._committer = originals, segment, sinks, committer
        self._assignments, self._settings = assignments, settings
        self._clock, self._metrics = instruments.clock, instruments.metrics
        self._numbers = 0
        self._active: dict[int, Batch] = {}
        self.size_bytes = 0
        """Held by the frames that are being computed or written."""
        self._computing = asyncio.Semaphore(segment.depth(settings.device))
        self._sink_turns = Turns()
        self._ended = asyncio.Event()

    # Room and state

    async def has_room(self) -> None:
        """Return when one more batch may compute; `begin` must follow."""
        await self._computing.acquire()

    def begin(self, frames: list[InFlightFrame], *, alone: bool) -> Batch:
        """Note the batch before anything is awaited; `end` must follow."""
        batch = Batch(self._numbers, frames, alone, sum([inflight.size_bytes for inflight in frames]))
        self._numbers += 1
        self._active[batch.number] = batch
        self.size_bytes += batch.size_bytes
        return batch

    @property
    def runs_alone(self) -> bool:
        """Whether a single suspect frame is running."""
        return any(batch.alone for batch in self._active.values())

    def is_busy(self, partitions: Collection[Partition] | None = None) -> bool:
        """Whether frames of these partitions, or any, are being computed or written."""
        return any(
            partitions is None or inflight.record.partition in partitions
            for batch in self._active.values()
            for inflight in batch.frames
        )

    async def idle(self, partitions: Collection[Partition] | None = None) -> None:
        """Return when no batch holds frames of these partitions, or of any."""
        while self.is_busy(partitions):
            await self.batch_ended()

    async def batch_ended(self) -> None:
        self._ended.clear()
        await self._ended.wait()

    # The steps

    async def load(self, batch: Batch) -> list[Parked]:
        """Fetch originals. Frames whose original is absent leave the batch, or die when that has lasted too long."""
        absent = await self._originals.load(batch.frames)
        now = self._clock.monotonic()
        parked = [found for inflight in absent if (found := self._parked(inflight, now)) is not None]
        if parked:
            gone = {entry.frame for entry in parked}
            batch.frames = [inflight for inflight in batch.frames if inflight not in gone]
        return parked

    def _parked(self, inflight: InFlightFrame, now: float) -> Parked | None:
        inflight.absent_since = now if inflight.absent_since is None else inflight.absent_since
        missed_seconds = now - inflight.absent_since
        if missed_seconds >= self._settings.absent_seconds:
            message = f"not in the blob store for {missed_seconds:.0f} s: {inflight.frame.image.uri}"
            inflight.death = Death(ORIGINAL_STAGE, "absent_original", message)
            return None
        self._metrics.retries.labels("absent_original").inc()
        pause_seconds = min(max(missed_seconds, self._settings.backoff_seconds), LONGEST_ABSENCE_PAUSE_SECONDS)
        return Parked(inflight, pause_seconds)

    async def mark(self, batch: Batch) -> None:
        """Make the start durable as an attempt before anything is computed; late frames leave the batch."""
        assigned = await (self._mark_alone(batch.frames) if batch.alone else self._mark_start(batch.frames))
        if not assigned:
            ours = self._assignments.still_ours(batch.frames)
            self._metrics.late.inc(len(batch.frames) - len(ours))
            batch.frames = ours

    async def _mark_start(self, frames: Sequence[InFlightFrame]) -> bool:
        marks = self._assignments.crashes.mark(inflight.record for inflight in frames if inflight.death is None)
        try:
            if marks:
                await self._committer.mark(marks)
        except Fenced:
            return False
        return True

    async def _mark_alone(self, frames: Sequence[InFlightFrame]) -> bool:
        crashes = self._assignments.crashes
        for inflight in frames:
            if inflight.death is None:
                await self._clock.sleep(RETRY_COOLDOWN_SECONDS * crashes.deaths(inflight.record))
                inflight.mark = CrashMark(inflight.record, crashes, self._committer)
                if not await inflight.mark.put():
                    return False
        return True

    async def compute(self, batch: Batch) -> None:
        """Run the segment's stages, then wait for the batch's turn at the sinks. Raises StageBroken."""
        await self._segment.run(batch.number, batch.frames)
        await self._sink_turns.enter(batch.number)
        self._give_back_place(batch)

    async def write(self, batch: Batch) -> None:
        """Write what is still ours and count it as finished. Raises StageBroken."""
        ours = self._assignments.still_ours(batch.frames)
        if batch.alone:
            pending = await self._write_alone(batch.frames, ours)
        else:
            pending = await self._sinks.write(ours) if ours else []
        self._finish(batch, ours, pending)

    async def _write_alone(
        self, frames: Sequence[InFlightFrame], ours: Sequence[InFlightFrame]
    ) -> Sequence[PendingCommit]:
        """Hold the mark only briefly, so that a kill while the index or the broker is away blames no frame.

        The mark is gone before the frame counts as finished: a flush and a commit may begin at that moment.
        """
        writing = asyncio.ensure_future(self._sinks.write(ours))
        held = asyncio.ensure_future(self._clock.sleep(MARK_HOLD_SECONDS))
        try:
            await asyncio.wait((writing, held), return_when=asyncio.FIRST_COMPLETED)
            for inflight in frames:
                if inflight.mark is not None:
                    await inflight.mark.lift()
            return await writing
        finally:
            held.cancel()
            writing.cancel()

    def _finish(self, batch: Batch, ours: Sequence[InFlightFrame], pending: Sequence[PendingCommit]) -> None:
        late = len(batch.frames) - len(ours)
        for inflight, commit in zip(ours, pending, strict=True):
            record = inflight.record
            late += not self._assignments.offsets.finish(record.partition, record.epoch, record.offset, commit)
        self._metrics.late.inc(late)

    def end(self, batch: Batch) -> None:
        """Give back everything that the batch held, whether it succeeded or failed."""
        self._give_back_place(batch)
        self._segment.leave(batch.number)
        self._sink_turns.leave(batch.number)
        del self._active[batch.number]
        self.size_bytes -= batch.size_bytes
        self._ended.set()

    def _give_back_place(self, batch: Batch) -> None:
        if batch.computing:
            batch.computing = False
            self._computing.release()
