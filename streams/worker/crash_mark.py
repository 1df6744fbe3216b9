"""The mark of a frame that runs alone: durable while it is computed and written, and gone whenever it waits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from streams.errors import Fenced
from streams.transport import Partition, Position, Record
from streams.worker.crash_tracker import CrashTracker


@dataclass(frozen=True, slots=True)
class CrashMark:
    """`write` makes positions durable (raises Fenced), `unmark` takes back what these partitions' marks say."""

    record: Record
    attempts: CrashTracker
    write: Callable[[Mapping[Partition, Position]], Awaitable[None]]
    unmark: Callable[[Sequence[Partition]], Awaitable[None]]

    async def put(self) -> bool:
        """Return once it is durable, at once if it is already; False: the partition is no longer ours."""
        marks = self.attempts.mark([self.record])
        try:
            if marks:
                await self.write(marks)
        except Fenced:
            return False
        return True

    async def lift(self) -> None:
        await self.unmark([self.record.partition])
