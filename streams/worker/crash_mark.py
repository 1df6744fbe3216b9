"""The crash mark of a frame that runs alone: durable while it is computed and written, removed while it waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from streams.errors import Fenced
from streams.transport import Partition, Position, Record
from streams.worker.crash_tracker import CrashTracker


class MarkWriter(Protocol):
    """Makes crash marks durable; the worker's committer."""

    async def mark(self, positions: Mapping[Partition, Position]) -> None:
        """Write the marks. Raises Fenced when the assignments are over."""

    async def unmark(self, partitions: Sequence[Partition]) -> None:
        """Take back the marks of these partitions."""


@dataclass(frozen=True, slots=True)
class CrashMark:
    record: Record
    crashes: CrashTracker
    writer: MarkWriter

    async def put(self) -> bool:
        """Return once the mark is durable, at once if it already is. False: the partition is no longer ours."""
        marks = self.crashes.mark([self.record])
        try:
            if marks:
                await self.writer.mark(marks)
        except Fenced:
            return False
        return True

    async def lift(self) -> None:
        await self.writer.unmark([self.record.partition])
