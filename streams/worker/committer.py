"""Commits what is finished: on a timer, off the batch path, never before the flush that covers the points.

A frame that finishes after a quiet time is committed at once; under load several batches share a commit. Where the
transport is atomic, one transaction per partition holds the outputs of all that is committed, in offset order, and the
offset.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from streams.clock import Clock
from streams.errors import Fenced
from streams.metrics import Metrics
from streams.retry import Retry
from streams.transport import Consumer, Partition, Position
from streams.worker.crash_tracker import CrashTracker
from streams.worker.health import Health
from streams.worker.offsets import OffsetTracker, Prefix
from streams.worker.sinks import BROKER_AWAY, Sinks

COMMIT_SHARE = 3.0
"""After a commit at least so many times its duration passes: an index on a slow disk flushes for a quarter of the
time at most, and writes points in the rest."""
LONGEST_PAUSE_SECONDS = 3.0
"""A commit that had to wait for the broker or the index, or a process that was suspended, says nothing of the disk."""


class Committer:
    def __init__(
        self,
        consumer: Consumer,
        tracker: OffsetTracker,
        attempts: CrashTracker,
        sinks: Sinks,
        *,
        atomic: bool,
        every_seconds: float,
        committed: Callable[[], None],
        retry: Retry,
        clock: Clock,
        health: Health,
        metrics: Metrics,
    ) -> None:
        self._consumer = consumer
        self._tracker = tracker
        self._attempts = attempts
        self._sinks = sinks
        self._atomic = atomic
        self._every_seconds = every_seconds
        self._committed = committed
        self._retry = retry
        self._clock = clock
        self._health = health
        self._metrics = metrics
        self._finished = asyncio.Event()
        self._backlogged = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()

    def notify_finished(self, *, backlogged: bool) -> None:
        """Called after each batch; `backlogged`: what waits for a commit takes the room of new frames."""
        self._finished.set()
        if backlogged:
            self._backlogged.set()

    async def run(self) -> None:
        """Commit for ever, at most every so often, sooner when it is backlogged."""
        while True:
            await self._finished.wait()
            self._finished.clear()
            self._backlogged.clear()
            began = self._clock.monotonic()
            await self.commit()
            took = self._clock.monotonic() - began
            seconds = max(self._every_seconds, min(COMMIT_SHARE * took, LONGEST_PAUSE_SECONDS))
            pause = asyncio.ensure_future(self._clock.sleep(seconds))
            crowd = asyncio.ensure_future(self._backlogged.wait())
            try:
                await asyncio.wait((pause, crowd), return_when=asyncio.FIRST_COMPLETED)
            finally:
                pause.cancel()
                crowd.cancel()

    async def commit(self) -> None:
        """Commit everything finished by now. Waits out what is away; partitions that were taken away are dropped."""
        async with self._one_at_a_time:
            prefixes = self._tracker.finished()
            if not prefixes:
                return
            began = self._clock.monotonic()
            await self._sinks.flush()
            if self._atomic:
                await self._write_each(prefixes)
            else:
                await self._write_together(prefixes)
            self._metrics.commit_seconds.observe(self._clock.monotonic() - began)

    async def mark(self, positions: Mapping[Partition, Position]) -> None:
        """Make attempts durable before a partition's first frame, or a suspect, is computed.

        Raises Fenced, and ends these assignments: what follows would be published before the frames that now drop out.
        """
        epochs = self._tracker.epochs()
        try:
            async with self._one_at_a_time:
                await self._retry.forever("broker", lambda: self._consumer.commit(positions, epochs), BROKER_AWAY)
        except Fenced:
            for partition in positions.keys() & epochs.keys():
                self._tracker.end(partition, epochs[partition])
            raise

    async def unmark(self, partitions: Sequence[Partition]) -> None:
        """Take marks back: a start ended in peace without a commit, or a suspect survived its computing."""
        async with self._one_at_a_time:  # asked inside: a commit that ends meanwhile must not be taken back
            positions, epochs = self._attempts.unmarked(partitions), self._tracker.epochs()
            with suppress(Fenced):
                if positions:
                    await self._retry.forever("broker", lambda: self._consumer.commit(positions, epochs), BROKER_AWAY)

    async def _write_together(self, prefixes: Mapping[Partition, Prefix]) -> None:
        try:
            await self._write(prefixes)
        except Fenced:  # some assignment has ended: find out which, and commit the others
            await self._write_each(prefixes)

    async def _write_each(self, prefixes: Mapping[Partition, Prefix]) -> None:
        """Every partition for itself, all at once; one that is not ours any more is dropped."""
        writes = [self._write_one(partition, prefix) for partition, prefix in prefixes.items()]
        for error in await asyncio.gather(*writes, return_exceptions=True):
            if error is not None:
                raise error

    async def _write_one(self, partition: Partition, prefix: Prefix) -> None:
        try:
            await self._write({partition: prefix})
        except Fenced:
            self._metrics.late.inc(len(prefix.outcomes))
            self._tracker.end(partition, prefix.epoch)

    async def _write(self, prefixes: Mapping[Partition, Prefix]) -> None:
        positions = {
            partition: self._attempts.position(partition, prefix.next_offset) for partition, prefix in prefixes.items()
        }
        epochs = {partition: prefix.epoch for partition, prefix in prefixes.items()}
        outcomes = [outcome for prefix in prefixes.values() for outcome in prefix.outcomes]
        if self._atomic:
            outgoing = [record for outcome in outcomes for record in outcome.outgoing]
            await self._retry.forever(
                "broker", lambda: self._consumer.publish_and_commit(outgoing, positions, epochs), BROKER_AWAY
            )
            self._sinks.published(outcomes)
        else:
            await self._retry.forever("broker", lambda: self._consumer.commit(positions, epochs), BROKER_AWAY)
        for partition, prefix in prefixes.items():
            self._tracker.committed(partition, prefix.epoch, prefix.next_offset)
            self._attempts.committed(partition, positions[partition])
        self._health.progressed()
        self._committed()
        self._metrics.last_success.set(self._clock.now())
