"""Takes records off a topic while there is room, and turns them into frames that wait for their batch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter

import structlog

from schemas.zones import zone_named
from streams.errors import Gap, Unavailable
from streams.transport import Consumer, Partition, Position, Record
from streams.worker.assignment import Assignments
from streams.worker.in_flight import Death
from streams.worker.ingress import decode_record
from streams.worker.instruments import Instruments
from streams.worker.route import Router
from streams.worker.settings import WorkerSettings

log = structlog.get_logger()

STAGE = "worker"
"""Stands as `stage` in the dead letter of a frame that kills the process."""
LOST_RECORDS = "lost records"
"""What a paused partition waits for: only a person can decide where its reading goes on."""
POLL_SECONDS = 0.25
"""How long one poll waits for records, and so how soon it notices a stop."""
POLLED_BATCHES = 2
"""Batches per poll at most: their records are in memory before their sizes are known."""


class Poller:
    def __init__(
        self,
        consumer: Consumer,
        router: Router,
        assignments: Assignments,
        settings: WorkerSettings,
        instruments: Instruments,
    ) -> None:
        self._consumer, self._router = consumer, router
        self._offsets, self._crashes, self._waiting = assignments.offsets, assignments.crashes, assignments.waiting
        self._settings, self._zone = settings, zone_named(settings.timezone)
        self._clock, self._health = instruments.clock, instruments.health
        self._metrics, self._retry = instruments.metrics, instruments.retry
        self._repeats_until: dict[Partition, int] = {}

    def room(self, held_bytes: int) -> int:
        """How many records may be taken now; `held_bytes` is what frames in flight hold."""
        if held_bytes >= self._settings.in_flight_bytes:
            return 0
        limit = self._crashes.window if self._crashes.unproven else self._settings.in_flight_frames
        return min(limit - self._offsets.in_flight(), POLLED_BATCHES * self._settings.batch_frames)

    async def poll(self, room: int) -> bool:
        """Take at most `room` records and begin their frames; whether there were any. Raises NewerVersion.

        While the broker is away this waits.
        """
        records = await self._retry.forever("broker", lambda: self._polled(room), Unavailable)
        if records:
            await self._begin(records)
        return bool(records)

    async def keep_alive(self) -> None:
        """Keep the membership without taking records."""
        await self._retry.forever("broker", self._consumer.keep_alive, Unavailable)

    async def _polled(self, room: int) -> Sequence[Record]:
        try:
            return await self._consumer.poll(room, POLL_SECONDS)
        except Gap as gap:
            self._health.waits_for(LOST_RECORDS, str(gap), str(gap))
            log.warning("records_lost", error=str(gap))
            return ()

    async def _begin(self, records: Sequence[Record]) -> None:
        """Begin the frames of one poll; all of them wait from the same moment on."""
        runs = [(partition, list(run)) for partition, run in groupby(records, attrgetter("partition"))]
        for partition, run in runs:
            if not self._crashes.knows(partition):
                await self._recall(partition, run[0].offset)
        now = self._clock.monotonic()
        for partition, run in runs:
            self._metrics.frames_in.labels(partition.topic).inc(self._take(partition, run, now))

    def _take(self, partition: Partition, records: Sequence[Record], ready_at: float) -> int:
        """Track offsets, decode, queue frames. Returns how many: not those that are not ours, or known already."""
        repeats_until = self._repeats_until[partition]
        may_hold_poison = self._crashes.may_hold_poison(partition)
        taken = 0
        for record in records:
            offset = record.offset
            if self._offsets.start(partition, record.epoch, offset):
                inflight = decode_record(
                    record, self._router, ready_at=ready_at, repeated=offset < repeats_until, zone=self._zone
                )
                if may_hold_poison and self._crashes.is_poison(record):
                    message = "the process died each time this frame ran, at last alone"
                    inflight.death = Death(STAGE, "crashed_worker", message)
                self._waiting.put(inflight)
                taken += 1
        return taken

    async def _recall(self, partition: Partition, first_offset: int) -> None:
        """With a partition's first record: the group's position, and how many starts there made no progress."""
        committed = await self._retry.forever("broker", lambda: self._consumer.committed(partition), Unavailable)
        self._crashes.assign(partition, committed or Position(first_offset))
        repeats = committed.next_offset + self._settings.in_flight_frames if committed else 0
        self._repeats_until[partition] = repeats
