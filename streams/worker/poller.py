"""Takes records off a topic while there is room, and turns them into frames that wait for their batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from operator import attrgetter

import structlog

from streams.clock import Clock, Signal
from streams.errors import Gap, Unavailable
from streams.metrics import Metrics
from streams.retry import Retry
from streams.transport import Consumer, Partition, Position, Record
from streams.worker.batcher import Batcher
from streams.worker.crash_tracker import CrashTracker
from streams.worker.health import Health
from streams.worker.in_flight import Death
from streams.worker.ingress import decode_record
from streams.worker.offsets import OffsetTracker
from streams.worker.route import Router
from streams.worker.settings import WorkerSettings

log = structlog.get_logger()

POLL_SECONDS = 0.25
"""How long one poll waits for records, and so how soon a stop is noticed by it."""
KEEP_ALIVE_SECONDS = 0.5
"""How often membership is kept alive while there is no room for records."""
POLLED_BATCHES = 2
"""At most so many batches per poll: their records are in memory before their sizes are known."""


class Poller:
    """`size_bytes` is what frames in flight hold; `arrived` is set when frames came, `freed` when there is room."""

    def __init__(
        self,
        consumer: Consumer,
        *,
        router: Router,
        tracker: OffsetTracker,
        attempts: CrashTracker,
        batcher: Batcher,
        size_bytes: Callable[[], int],
        arrived: Signal,
        freed: Signal,
        retry: Retry,
        settings: WorkerSettings,
        clock: Clock,
        health: Health,
        metrics: Metrics,
    ) -> None:
        self._consumer, self._router = consumer, router
        self._tracker, self._attempts, self._batcher = tracker, attempts, batcher
        self._size_bytes, self._arrived, self._freed = size_bytes, arrived, freed
        self._retry, self._settings = retry, settings
        self._clock, self._health, self._metrics = clock, health, metrics
        self._repeats_until: dict[Partition, int] = {}
        self.draining = False
        """Take nothing more, only keep the membership."""

    async def run(self) -> None:
        """For ever. Raises NewerVersion."""
        while True:
            room = 0 if self.draining else self._room()
            if room > 0:
                records = await self._retry.forever("broker", lambda r=room: self._poll(r), Unavailable)  # type: ignore[misc]
                await self._take_all(records)
            else:
                self._freed.clear()
                await self._retry.forever("broker", self._consumer.keep_alive, Unavailable)
                await self._freed.wait(KEEP_ALIVE_SECONDS)

    async def _poll(self, room: int) -> Sequence[Record]:
        try:
            return await self._consumer.poll(room, POLL_SECONDS)
        except Gap as gap:
            self._health.waits_for("lost records", str(gap))
            log.warning("records_lost", error=str(gap))
            return ()

    def _room(self) -> int:
        """How many records may be taken now."""
        if self._size_bytes() >= self._settings.in_flight_bytes:
            return 0
        most = self._attempts.window if self._attempts.unproven else self._settings.in_flight_frames
        return min(most - self._tracker.in_flight(), POLLED_BATCHES * self._settings.batch_frames)

    async def _take_all(self, records: Sequence[Record]) -> None:
        """Begin what a poll gave; all of it waits from the same moment on. Raises NewerVersion."""
        if not records:
            return
        runs = [(partition, list(run)) for partition, run in groupby(records, attrgetter("partition"))]
        for partition, run in runs:
            if not self._attempts.knows(partition):
                await self._recall(partition, run[0].offset)
        now = self._clock.monotonic()
        for partition, run in runs:
            self._metrics.frames_in.labels(partition.topic).inc(self._take(partition, run, now))
        self._arrived.set()

    def _take(self, partition: Partition, records: Sequence[Record], ready_at: float) -> int:
        """Note offsets, decode, queue frames. How many: not those that are not ours, or known already."""
        repeats_until, is_deadly = self._repeats_until[partition], self._attempts.is_deadly(partition)
        taken = 0
        for record in records:
            offset = record.offset
            if self._tracker.start(partition, record.epoch, offset):
                flight = decode_record(record, self._router, ready_at=ready_at, repeated=offset < repeats_until)
                if is_deadly and self._attempts.is_poison(record):
                    message = "the process died when this frame ran, at last alone"
                    flight.death = Death("worker", "crashed_worker", message)
                self._batcher.put(flight)
                taken += 1
        return taken

    async def _recall(self, partition: Partition, first_offset: int) -> None:
        """With a partition's first record: where the group stands, and how often it started here in vain."""
        found = await self._retry.forever("broker", lambda: self._consumer.committed(partition), Unavailable)
        self._attempts.assign(partition, found or Position(first_offset))
        self._repeats_until[partition] = found.next_offset + self._settings.in_flight_frames if found else 0
