"""The batcher loses no frame, keeps every feed's order, and is fair."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from streams.clock import ManualClock
from streams.transport import Partition
from streams.worker.batcher import Batcher
from streams.worker.in_flight import InFlightFrame
from tests.support.in_flight import in_flight

FEEDS = st.sampled_from(["a", "b", "c", "d"])
ARRIVALS = st.lists(st.tuples(FEEDS, st.integers(1, 60)), max_size=60)


def filled(arrivals: list[tuple[str, int]], batcher: Batcher) -> list[InFlightFrame]:
    waiting = [
        in_flight(feed, offset, size_bytes=size, partition=ord(feed) % 2)
        for offset, (feed, size) in enumerate(arrivals)
    ]
    for frame in waiting:
        batcher.put(frame)
    return waiting


def emptied(batcher: Batcher) -> list[list[InFlightFrame]]:
    batches = []
    while batch := batcher.take():
        batches.append(batch)
    return batches


@given(ARRIVALS, st.integers(1, 9), st.integers(20, 100))
def test_everything_leaves_once_in_its_feeds_order_within_the_bounds(
    arrivals: list[tuple[str, int]], frames: int, size_bytes: int
) -> None:
    batcher = Batcher(ManualClock(), frames=frames, size_bytes=size_bytes, pixels=1 << 40)
    waiting = filled(arrivals, batcher)
    assert batcher.size_bytes == sum(size for _, size in arrivals)
    batches = emptied(batcher)
    assert (len(batcher), batcher.size_bytes) == (0, 0)
    taken = [frame for batch in batches for frame in batch]
    assert sorted(taken, key=id) == sorted(waiting, key=id)
    for feed in "abcd":
        offsets = [frame.record.offset for frame in taken if frame.frame.feed == feed]
        assert offsets == sorted(offsets)
    for batch in batches:
        assert len(batch) <= frames
        assert len(batch) == 1 or sum(frame.size_bytes for frame in batch) <= size_bytes


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30), st.integers(1, 60))
def test_the_pixels_of_a_batch_are_bounded_and_a_larger_picture_goes_alone(
    sizes: list[tuple[int, int]], pixels: int
) -> None:
    batcher = Batcher(ManualClock(), frames=16, size_bytes=1 << 30, pixels=pixels)
    waiting = filled([("a", 3)] * len(sizes), batcher)
    for frame, (width, height) in zip(waiting, sizes, strict=True):
        frame.frame.image = replace(frame.frame.image, width=width, height=height)
    batches = emptied(batcher)
    assert sum(map(len, batches)) == len(sizes)
    assert all(len(batch) == 1 or sum(frame.pixels for frame in batch) <= pixels for batch in batches)


@given(ARRIVALS, st.integers(1, 9))
def test_a_feed_that_floods_delays_itself(arrivals: list[tuple[str, int]], frames: int) -> None:
    """Until a feed has no frame left, no other feed is ahead of it by two frames."""
    batcher = Batcher(ManualClock(), frames=frames, size_bytes=1 << 30, pixels=1 << 40)
    filled(arrivals, batcher)
    waiting = Counter(feed for feed, _ in arrivals)
    served: Counter[str] = Counter()
    for batch in emptied(batcher):
        for frame in batch:
            served[frame.frame.feed] += 1
        unfinished = [feed for feed in waiting if served[feed] < waiting[feed]]
        most = max(served.values())
        assert all(most - served[feed] <= 1 for feed in unfinished)


@given(ARRIVALS)
def test_dropping_a_partition_leaves_the_others(arrivals: list[tuple[str, int]]) -> None:
    batcher = Batcher(ManualClock(), frames=4, size_bytes=1 << 30, pixels=1 << 40)
    waiting = filled(arrivals, batcher)
    revoked = Partition("frames.raw", 0)
    dropped = batcher.drop({revoked})
    assert {frame.record.offset for frame in dropped} == {
        frame.record.offset for frame in waiting if frame.record.partition == revoked
    }
    left = [frame for batch in emptied(batcher) for frame in batch]
    assert len(left) + len(dropped) == len(waiting)
    assert all(frame.record.partition != revoked for frame in left)


@given(st.lists(FEEDS, min_size=1, max_size=20), st.data())
def test_a_suspect_is_its_partitions_first_frame(feeds: list[str], data: st.DataObject) -> None:
    batcher = Batcher(ManualClock(), frames=4, size_bytes=1 << 30, pixels=1 << 40)
    for offset, feed in data.draw(st.permutations(list(enumerate(feeds)))):
        batcher.put(in_flight(feed, offset))
    assert [batcher.take_first(Partition("frames.raw", 0)).record.offset for _ in feeds] == list(range(len(feeds)))


@given(st.floats(0.1, 10), st.integers(1, 3))
def test_a_batch_that_is_not_full_lingers_no_longer_than_configured(linger: float, count: int) -> None:
    clock = ManualClock()
    batcher = Batcher(clock, frames=4, size_bytes=1 << 30, pixels=1 << 40, linger_seconds=linger)
    assert batcher.wait_seconds() is None
    for offset in range(count):
        batcher.put(in_flight("a", offset, ready_at=clock.monotonic()))
    assert batcher.take() == []
    clock.advance(batcher.wait_seconds() or 0)
    assert len(batcher.take()) == count
    for offset in range(4):
        batcher.put(in_flight("a", offset, ready_at=clock.monotonic()))
    assert len(batcher.take()) == 4, "a full batch does not wait"
