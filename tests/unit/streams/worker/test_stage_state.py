"""A batch works on copies of the states; they are kept only if it succeeded and the partition is still assigned."""

from __future__ import annotations

from streams.transport import Partition
from streams.worker.offsets import OffsetTracker
from streams.worker.stage_state import StageState
from tests.support.fault_stages import Count
from tests.support.in_flight import frame, in_flight


def assigned() -> OffsetTracker:
    """Both partitions are assigned, in the epoch of the frames that these tests make."""
    offsets = OffsetTracker()
    for index in range(2):
        offsets.assign(Partition("frames.raw", index), 1, 0)
    return offsets


def test_a_failed_batch_leaves_no_trace() -> None:
    state = StageState(Count(), assigned())
    frames = [in_flight("lobby", 0), in_flight("door", 1)]
    states = state.copies(frames)
    states["default/lobby"].append("seen")
    assert state.copies(frames) == {"default/lobby": [], "default/door": []}
    state.keep(states, frames)
    again = state.copies(frames)
    assert again == {"default/lobby": ["seen"], "default/door": []}
    again["default/lobby"].append("seen again")
    assert state.copies(frames)["default/lobby"] == ["seen"]


def test_stills_have_no_state() -> None:
    state = StageState(Count(), assigned())
    still = in_flight("stills", 0)
    still.frame = frame("stills", kind="still")
    assert state.copies([still]) == {}


def test_state_goes_with_its_partition_and_does_not_come_back_with_a_late_batch() -> None:
    offsets = assigned()
    state = StageState(Count(), offsets)
    frames = [in_flight("lobby", 0, partition=0), in_flight("door", 1, partition=1)]
    states = state.copies(frames)
    state.keep(states, frames)
    assert len(state) == 2
    offsets.revoke([Partition("frames.raw", 0)])
    state.drop({Partition("frames.raw", 0)})
    state.keep(states, frames)
    assert len(state) == 1
