"""States of stateful stages: a batch works on copies, which are kept only if it succeeded."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from processors.stage import StatefulStage
from streams.transport import Partition
from streams.worker.in_flight import InFlightFrame
from streams.worker.offsets import OffsetTracker


class StageState:
    """One stage's states by `tenant/feed`. A state that is lost costs work, never data: the stage starts afresh.

    `offsets` tells whether an assignment still holds; a batch that comes back after it must not leave its states.
    """

    def __init__(self, stage: StatefulStage, offsets: OffsetTracker) -> None:
        self._stage = stage
        self._offsets = offsets
        self._states: dict[str, Any] = {}
        self._partitions: dict[str, Partition] = {}

    def copies(self, frames: Sequence[InFlightFrame]) -> dict[str, Any]:
        """States for the feeds of `frames`, to be changed freely. Stills have none.

        Called in the lane's thread, because copies may be large; batches take turns, so no state is kept meanwhile.
        """
        feeds = {inflight.feed for inflight in frames if inflight.frame.kind == "frame"}
        known = {feed: self._states.get(feed) for feed in feeds}
        return {
            feed: self._stage.initial_state() if state is None else copy.deepcopy(state)
            for feed, state in known.items()
        }

    def keep(self, states: Mapping[str, Any], frames: Sequence[InFlightFrame]) -> None:
        """The batch succeeded: its states are the feeds' states now."""
        for inflight in frames:
            record, feed = inflight.record, inflight.feed
            if feed in states and self._offsets.is_current(record.partition, record.epoch):
                self._states[feed] = states[feed]
                self._partitions[feed] = record.partition

    def drop(self, partitions: Collection[Partition]) -> None:
        """Forget the feeds of partitions that are no longer ours: another worker goes on with them."""
        gone = [feed for feed, partition in self._partitions.items() if partition in partitions]
        for feed in gone:
            del self._partitions[feed]
            self._states.pop(feed, None)

    def __len__(self) -> int:
        return len(self._states)


class StageStates:
    """The states of every stateful stage of the segment."""

    def __init__(self, offsets: OffsetTracker) -> None:
        self._offsets = offsets
        self._by_stage: list[StageState] = []

    def of(self, stage: object) -> StageState | None:
        """New states for `stage`; None for a stage without memory."""
        if not isinstance(stage, StatefulStage):
            return None
        self._by_stage.append(StageState(stage, self._offsets))
        return self._by_stage[-1]

    def drop(self, partitions: Collection[Partition]) -> None:
        for states in self._by_stage:
            states.drop(partitions)
