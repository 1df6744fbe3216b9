"""What stages remember of feeds: copies go into a batch and come back only if it succeeded."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from processors.stage import StatefulStage
from streams.transport import Partition
from streams.worker.in_flight import InFlightFrame


class StageState:
    """One stage's states by `tenant/feed`. A state that is lost costs work, never data: the stage starts afresh.

    `is_current(partition, epoch)` tells whether an assignment still holds; a batch that comes back after it must not
    leave its states behind.
    """

    def __init__(self, stage: StatefulStage, is_current: Callable[[Partition, int], bool]) -> None:
        self._stage = stage
        self._is_current = is_current
        self._states: dict[str, Any] = {}
        self._partitions: dict[str, Partition] = {}

    def copies(self, flights: Sequence[InFlightFrame]) -> dict[str, Any]:
        """States for the feeds in `flights`, to be changed freely. Stills have none.

        In the lane's thread, because copies may be large; the turns of batches see to it that nobody keeps meanwhile.
        """
        feeds = {flight.feed for flight in flights if flight.frame.kind == "frame"}
        known = {feed: self._states.get(feed) for feed in feeds}
        return {
            feed: self._stage.initial_state() if state is None else copy.deepcopy(state)
            for feed, state in known.items()
        }

    def keep(self, states: Mapping[str, Any], flights: Sequence[InFlightFrame]) -> None:
        """The batch succeeded: its states are the feeds' states now."""
        for flight in flights:
            record = flight.record
            if flight.feed in states and self._is_current(record.partition, record.epoch):
                self._states[flight.feed] = states[flight.feed]
                self._partitions[flight.feed] = record.partition

    def drop(self, partitions: Collection[Partition]) -> None:
        """Forget the feeds of partitions that are no longer ours: another worker goes on with them."""
        gone = [feed for feed, partition in self._partitions.items() if partition in partitions]
        for feed in gone:
            del self._partitions[feed]
            self._states.pop(feed, None)

    def __len__(self) -> int:
        return len(self._states)
