"""What a worker owns of its assigned partitions; all of it is given up in one call."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from streams.transport import Partition
from streams.worker.batcher import Batcher
from streams.worker.crash_tracker import CrashTracker
from streams.worker.in_flight import InFlightFrame
from streams.worker.offsets import OffsetTracker
from streams.worker.stage_state import StageStates


@dataclass(frozen=True, slots=True)
class Assignments:
    """Offsets, crash counts, waiting frames and stage states, by partition. The event loop's alone."""

    offsets: OffsetTracker
    crashes: CrashTracker
    waiting: Batcher
    states: StageStates

    def assign(self, partitions: Mapping[Partition, int]) -> None:
        """Begin these partitions under their new epochs; nothing of an earlier assignment stays."""
        self.release(partitions)
        for partition, epoch in partitions.items():
            self.offsets.assign(partition, epoch, 0)

    def close(self, partitions: Collection[Partition]) -> None:
        """Begin nothing more of these partitions: waiting frames are dropped and delivered to the next owner."""
        self.offsets.leave(partitions)
        self.waiting.drop(set(partitions))

    def release(self, partitions: Collection[Partition]) -> None:
        """Give up everything of these partitions; their epochs are void afterwards."""
        self.waiting.drop(set(partitions))
        self.crashes.revoke(partitions)
        self.offsets.revoke(partitions)
        self.states.drop(set(partitions))

    def still_ours(self, frames: Sequence[InFlightFrame]) -> list[InFlightFrame]:
        """Those of `frames` whose assignment still holds."""
        epochs = self.offsets.epochs()
        return [inflight for inflight in frames if epochs.get(inflight.record.partition) == inflight.record.epoch]
