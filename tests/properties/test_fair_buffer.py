"""The buffer between aiokafka and polls: every record once, in its partition's order, no partition starved."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import chain

import hypothesis.strategies as st
from hypothesis import given

from streams.kafka.fair_buffer import FairBuffer

STEPS = st.lists(
    st.tuples(st.just("add"), st.integers(0, 4), st.integers(0, 30)) | st.tuples(st.just("take"), st.integers(1, 40)),
    max_size=60,
)


class Numbers(deque[int]):
    """A run of numbers."""

    def take(self, count: int) -> list[int]:
        return [self.popleft() for _ in range(min(count, len(self)))]


def in_runs(numbers: Iterable[int]) -> list[Numbers]:
    """An empty one, the first alone, and the rest."""
    first, *rest = [[number] for number in numbers] or [[]]
    return [Numbers(), Numbers(first), Numbers(chain.from_iterable(rest))]


@given(STEPS)
def test_every_record_comes_once_and_in_order(steps: list[tuple[str, int] | tuple[str, int, int]]) -> None:
    buffer: FairBuffer[int, int] = FairBuffer()
    buffer.hold(range(4))
    added, taken = dict.fromkeys(range(4), 0), dict.fromkeys(range(4), 0)
    for name, *numbers in steps:
        if name == "add":
            partition, count = numbers
            start = added.get(partition, 0)
            buffer.add(partition, in_runs(range(start, start + count)))
            if partition in added:
                added[partition] += count
            continue
        waiting = {partition: added[partition] - taken[partition] for partition in added}
        records = [(partition, record) for partition, run in buffer.take(numbers[0]) for record in run]
        assert len(records) == min(numbers[0], sum(waiting.values()))
        shares = dict.fromkeys(range(4), 0)
        for partition, record in records:
            assert record == taken[partition]
            taken[partition] += 1
            shares[partition] += 1
        ready = [partition for partition in waiting if waiting[partition]]
        assert all(shares[partition] >= min(waiting[partition], numbers[0] // len(ready)) for partition in ready)
        assert bool(buffer) == any(added[partition] > taken[partition] for partition in added)
        assert set(buffer.empty()) == {partition for partition in added if added[partition] == taken[partition]}


@given(st.integers(1, 3), st.integers(4, 12))
def test_no_partition_waits_longer_than_a_round(count: int, partitions: int) -> None:
    """Polls of fewer records than there are partitions reach every partition in turn."""
    buffer: FairBuffer[int, int] = FairBuffer()
    buffer.hold(range(partitions))
    for partition in range(partitions):
        buffer.add(partition, in_runs(range(1000)))
    seen: set[int] = set()
    for _ in range(partitions):
        seen |= {partition for partition, _ in buffer.take(count)}
    assert seen == set(range(partitions))


def test_records_of_an_ended_assignment_are_dropped() -> None:
    buffer: FairBuffer[str, int] = FairBuffer()
    buffer.hold(["a", "b"])
    buffer.add("a", in_runs([1, 2]))
    buffer.hold(["b"])
    buffer.add("a", in_runs([3]))
    assert not buffer
    assert buffer.empty() == ["b"]
