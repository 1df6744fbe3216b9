"""The waiting frames: they queue per feed, and the segment pulls the next batch when it has room.

Batches grow under load by themselves (a busy segment comes back later and finds more frames), so no timer forms them;
`linger_seconds` may hold a batch that is not full a little longer. Feeds take turns, one frame each, and the turn is
kept from batch to batch: a feed that floods delays only itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator

from streams.clock import Clock
from streams.transport import Partition
from streams.worker.in_flight import InFlightFrame


class Batcher:
    """Not thread-safe: the event loop's alone. Frames of one feed leave in the order they came."""

    def __init__(self, clock: Clock, *, frames: int, size_bytes: int, pixels: int, linger_seconds: float = 0.0) -> None:
        """The limits of a batch; a single frame beyond one of them is a batch of its own."""
        self._clock = clock
        self._frames = frames
        self._size_bytes = size_bytes
        self._pixels = pixels
        self._linger_seconds = linger_seconds
        self._feeds: dict[str, deque[InFlightFrame]] = {}
        self._turns: deque[str] = deque()
        self._count = 0
        self._bytes = 0

    def __len__(self) -> int:
        return self._count

    @property
    def size_bytes(self) -> int:
        return self._bytes

    def put(self, inflight: InFlightFrame) -> None:
        queue = self._feeds.get(inflight.feed)
        if queue is None:
            queue = self._feeds[inflight.feed] = deque()
            self._turns.append(inflight.feed)
        queue.append(inflight)
        self._count += 1
        self._bytes += inflight.size_bytes

    def wait_seconds(self) -> float | None:
        """How long until `take` gives a batch: 0 is now, None is not before something is put."""
        if not self._count:
            return None
        if not self._linger_seconds or self._count >= self._frames or self._bytes >= self._size_bytes:
            return 0.0
        oldest = min(queue[0].ready_at for queue in self._feeds.values())
        return max(0.0, oldest + self._linger_seconds - self._clock.monotonic())

    def take(self) -> list[InFlightFrame]:
        """The next batch; empty if none is ready."""
        if self.wait_seconds() != 0.0:
            return []
        batch: list[InFlightFrame] = []
        room_bytes, room_pixels = self._size_bytes, self._pixels
        while self._turns and len(batch) < self._frames:
            first = self._feeds[self._turns[0]][0]
            if batch and (first.size_bytes > room_bytes or first.pixels > room_pixels):
                break
            room_bytes -= first.size_bytes
            room_pixels -= first.pixels
            batch.append(self._pull())
        return batch

    def __iter__(self) -> Iterator[InFlightFrame]:
        return (inflight for queue in self._feeds.values() for inflight in queue)

    def take_first(self, partition: Partition) -> InFlightFrame:
        """The frame of `partition` with the lowest offset, which must exist; feeds' turns do not count here."""
        candidates = (inflight for inflight in self if inflight.record.partition == partition)
        first = min(candidates, key=lambda inflight: inflight.record.offset)
        self._keep_only([inflight for inflight in self if inflight is not first])
        return first

    def drop(self, partitions: Collection[Partition]) -> list[InFlightFrame]:
        """Take out the frames of `partitions`; they were never started and will be delivered again."""
        dropped = [inflight for inflight in self if inflight.record.partition in partitions]
        self._keep_only([inflight for inflight in self if inflight.record.partition not in partitions])
        return dropped

    def _keep_only(self, frames: Collection[InFlightFrame]) -> None:
        self._feeds.clear()
        self._turns.clear()
        self._count = self._bytes = 0
        for inflight in frames:
            self.put(inflight)

    def _pull(self) -> InFlightFrame:
        feed = self._turns.popleft()
        queue = self._feeds[feed]
        inflight = queue.popleft()
        if queue:
            self._turns.append(feed)
        else:
            del self._feeds[feed]
        self._count -= 1
        self._bytes -= inflight.size_bytes
        return inflight
