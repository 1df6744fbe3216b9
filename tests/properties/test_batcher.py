"""The waiting room loses nothing, keeps every feed's order, and is fair."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from streams.clock import ManualClock
from streams.transport import Partition
from streams.worker.batcher import Batcher
from streams.worker.in_flight import InFlightFrame
from tests.properties.flights import flight

FEEDS = st.sampled_from(["a", "b", "c", "d"])
ARRIVALS = st.lists(st.tuples(FEEDS, st.integers(1, 60)), max_size=60)


def filled(arrivals: list[tuple[str, int]], batcher: Batcher) -> list[InFlightFrame]:
    flights = [
        flight(feed, offset, size_bytes=size, partition=ord(feed) % 2) for offset, (feed, size) in enumerate(arrivals)
    ]
    for one in flights:
        batcher.put(one)
    return flights


def emptied(batcher: Batcher) -> list[list[InFlightFrame]]:
    batches = []
    while batch := batcher.take():
        batches.append(batch)
    return batches


@given(ARRIVALS, st.integers(1, 9), st.integers(20, 100))
def test_everything_leaves_once_in_its_feeds_order_within_the_bounds(
    arrivals: list[tuple[str, int]], frames: int, size_bytes: int
) -> None:
    batcher = Batcher(ManualClock(), frames=frames, size_bytes=size_bytes)
    flights = filled(arrivals, batcher)
    assert batcher.size_bytes == sum(size for _, size in arrivals)
    batches = emptied(batcher)
    assert (len(batcher), batcher.size_bytes) == (0, 0)
    left = [one for batch in batches for one in batch]
    assert sorted(left, key=id) == sorted(flights, key=id)
    for feed in "abcd":
        offsets = [one.record.offset for one in left if one.frame.feed == feed]
        assert offsets == sorted(offsets)
    for batch in batches:
        assert len(batch) <= frames
        assert len(batch) == 1 or sum(one.size_bytes for one in batch) <= size_bytes


@given(ARRIVALS, st.integers(1, 9))
def test_a_feed_that_floods_delays_itself(arrivals: list[tuple[str, int]], frames: int) -> None:
    """Until a feed is through, no other gets two frames more than it."""
    batcher = Batcher(ManualClock(), frames=frames, size_bytes=1 << 30)
    filled(arrivals, batcher)
    waiting = Counter(feed for feed, _ in arrivals)
    served: Counter[str] = Counter()
    for batch in emptied(batcher):
        for one in batch:
            served[one.frame.feed] += 1
        still = [feed for feed in waiting if served[feed] < waiting[feed]]
        most = max(served.values())
        assert all(most - served[feed] <= 1 for feed in still)


@given(ARRIVALS)
def test_dropping_a_partition_leaves_the_others(arrivals: list[tuple[str, int]]) -> None:
    batcher = Batcher(ManualClock(), frames=4, size_bytes=1 << 30)
    flights = filled(arrivals, batcher)
    gone = Partition("frames.raw", 0)
    dropped = batcher.drop({gone})
    assert {one.record.offset for one in dropped} == {
        one.record.offset for one in flights if one.record.partition == gone
    }
    left = [one for batch in emptied(batcher) for one in batch]
    assert len(left) + len(dropped) == len(flights)
    assert all(one.record.partition != gone for one in left)


@given(st.lists(FEEDS, min_size=1, max_size=20), st.data())
def test_a_suspect_is_its_partitions_first_frame(feeds: list[str], data: st.DataObject) -> None:
    batcher = Batcher(ManualClock(), frames=4, size_bytes=1 << 30)
    for offset, feed in data.draw(st.permutations(list(enumerate(feeds)))):
        batcher.put(flight(feed, offset))
    assert [batcher.take_first(Partition("frames.raw", 0)).record.offset for _ in feeds] == list(range(len(feeds)))


@given(st.floats(0.1, 10), st.integers(1, 3))
def test_a_batch_that_is_not_full_lingers_no_longer_than_it_was_told(linger: float, count: int) -> None:
    clock = ManualClock()
    batcher = Batcher(clock, frames=4, size_bytes=1 << 30, linger_seconds=linger)
    assert batcher.wait_seconds() is None
    for offset in range(count):
        batcher.put(flight("a", offset, ready_at=clock.monotonic()))
    assert batcher.take() == []
    clock.advance(batcher.wait_seconds() or 0)
    assert len(batcher.take()) == count
    for offset in range(4):
        batcher.put(flight("a", offset, ready_at=clock.monotonic()))
    assert len(batcher.take()) == 4, "a full batch does not wait"
