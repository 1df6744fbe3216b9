"""States go into a batch as copies, and come back only if it succeeded and the feed is still ours."""

from __future__ import annotations

from streams.transport import Partition
from streams.worker.offsets import OffsetTracker
from streams.worker.stage_state import StageState
from tests.properties.flights import flight, frame
from tests.support.fault_stages import Count


def assigned() -> OffsetTracker:
    """Both partitions are ours, in the epoch of the frames that these tests make."""
    offsets = OffsetTracker()
    for index in range(2):
        offsets.assign(Partition("frames.raw", index), 1, 0)
    return offsets


def test_a_failed_batch_leaves_no_trace() -> None:
    memory = StageState(Count(), assigned())
    flights = [flight("lobby", 0), flight("door", 1)]
    states = memory.copies(flights)
    states["default/lobby"].append("seen")
    assert memory.copies(flights) == {"default/lobby": [], "default/door": []}
    memory.keep(states, flights)
    again = memory.copies(flights)
    assert again == {"default/lobby": ["seen"], "default/door": []}
    again["default/lobby"].append("seen again")
    assert memory.copies(flights)["default/lobby"] == ["seen"]


def test_stills_have_no_memory() -> None:
    memory = StageState(Count(), assigned())
    still = flight("stills", 0)
    still.frame = frame("stills", kind="still")
    assert memory.copies([still]) == {}


def test_state_goes_with_its_partition_and_does_not_come_back_with_a_late_batch() -> None:
    offsets = assigned()
    memory = StageState(Count(), offsets)
    flights = [flight("lobby", 0, partition=0), flight("door", 1, partition=1)]
    states = memory.copies(flights)
    memory.keep(states, flights)
    assert len(memory) == 2
    offsets.revoke([Partition("frames.raw", 0)])
    memory.drop({Partition("frames.raw", 0)})
    memory.keep(states, flights)
    assert len(memory) == 1
