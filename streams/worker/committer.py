"""Commits what is finished: on a timer, off the batch path, never before the flush that covers the points.

A frame that finishes after a quiet time is committed at once; under load several batches share a commit. Where the
transport is atomic, one transaction per partition holds the outputs of everything that is committed, in offset order,
and the offset.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress

from streams.clock import Signal
from streams.errors import Fenced
from streams.transport import Consumer, Partition, Position
from streams.worker.assignment import Assignments
from streams.worker.instruments import Instruments
from streams.worker.offsets import Prefix
from streams.worker.sinks import BROKER_AWAY, Sinks

COMMIT_SHARE = 3.0
"""After a commit at least this multiple of its duration passes: an index on a slow disk flushes for a quarter of the
time at most, and writes points in the rest."""
LONGEST_PAUSE_SECONDS = 3.0
"""A commit that waited for the broker or the index, or a suspended process, says nothing about the disk."""


class Committer:
    """`room_freed` is set after each commit: its frames are no longer in flight."""

    def __init__(
        self,
        consumer: Consumer,
        assignments: Assignments,
        sinks: Sinks,
        room_freed: Signal,
        every_seconds: float,
        instruments: Instruments,
    ) -> None:
        self._consumer, self._sinks = consumer, sinks
        self._offsets, self._crashes = assignments.offsets, assignments.crashes
        self._room_freed, self._every_seconds = room_freed, every_seconds
        self._clock, self._metrics = instruments.clock, instruments.metrics
        self._health, self._retry = instruments.health, instruments.retry
        self._finished = asyncio.Event()
        self._backlogged = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()

    def notify_finished(self, *, backlogged: bool) -> None:
        """Called after each batch. `backlogged`: frames that wait for a commit take the room of new ones."""
        self._finished.set()
        if backlogged:
            self._backlogged.set()

    async def run(self) -> None:
        """Commit until cancelled: when something has finished, at most once per interval, sooner when backlogged."""
        while True:
            await self._finished.wait()
            self._finished.clear()
            self._backlogged.clear()
            began = self._clock.monotonic()
            await self.commit()
            duration = self._clock.monotonic() - began
            await self._pause(max(self._every_seconds, min(COMMIT_SHARE * duration, LONGEST_PAUSE_SECONDS)))

    async def _pause(self, seconds: float) -> None:
        pause = asyncio.ensure_future(self._clock.sleep(seconds))
        backlog = asyncio.ensure_future(self._backlogged.wait())
        try:
            await asyncio.wait((pause, backlog), return_when=asyncio.FIRST_COMPLETED)
        finally:
            pause.cancel()
            backlog.cancel()

    async def commit(self) -> bool:
        """Commit everything finished by now. Waits out an outage; partitions that were taken away are dropped.

        Returns whether all that is finished is committed: nothing was dropped, and nothing unfinished precedes it.
        """
        async with self._one_at_a_time:
            committed = await self._commit(self._offsets.finished())
            return committed and self._offsets.in_flight() == self._offsets.unfinished()

    async def _commit(self, prefixes: Mapping[Partition, Prefix]) -> bool:
        if not prefixes:
            return True
        began = self._clock.monotonic()
        await self._sinks.flush()
        write = self._write_each if self._sinks.atomic else self._write_together
        committed = await write(prefixes)
        self._metrics.commit_seconds.observe(self._clock.monotonic() - began)
        return committed

    async def mark(self, positions: Mapping[Partition, Position]) -> None:
        """Make attempts durable before a partition's first frame, or a suspect, is computed.

        Raises Fenced, and ends these assignments: later frames would be published before those that drop out now.
        """
        epochs = self._offsets.epochs()
        try:
            async with self._one_at_a_time:
                await self._commit_positions(positions, epochs)
        except Fenced:
            for partition in positions.keys() & epochs.keys():
                self._offsets.end(partition, epochs[partition])
            raise

    async def unmark(self, partitions: Sequence[Partition]) -> None:
        """Take crash marks back: a clean stop without a commit, or a suspect that survived its computing."""
        async with self._one_at_a_time:  # read inside: a commit that ends meanwhile must not be taken back
            positions, epochs = self._crashes.unmarked(partitions), self._offsets.epochs()
            with suppress(Fenced):
                if positions:
                    await self._commit_positions(positions, epochs)

    async def _commit_positions(self, positions: Mapping[Partition, Position], epochs: Mapping[Partition, int]) -> None:
        await self._retry.forever("broker", lambda: self._consumer.commit(positions, epochs), BROKER_AWAY)

    async def _write_together(self, prefixes: Mapping[Partition, Prefix]) -> bool:
        try:
            await self._write(prefixes)
        except Fenced:  # some assignment has ended: find out which, and commit the others
            return await self._write_each(prefixes)
        return True

    async def _write_each(self, prefixes: Mapping[Partition, Prefix]) -> bool:
        """Each partition by itself, all at once; one that is not ours any more is dropped. Whether none was."""
        writes = [self._write_one(partition, prefix) for partition, prefix in prefixes.items()]
        results = await asyncio.gather(*writes, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return all(results)

    async def _write_one(self, partition: Partition, prefix: Prefix) -> bool:
        try:
            await self._write({partition: prefix})
        except Fenced:
            self._metrics.late.inc(len(prefix.pending))
            self._offsets.end(partition, prefix.epoch)
            return False
        return True

    async def _write(self, prefixes: Mapping[Partition, Prefix]) -> None:
        positions = {
            partition: self._crashes.position(partition, prefix.next_offset) for partition, prefix in prefixes.items()
        }
        epochs = {partition: prefix.epoch for partition, prefix in prefixes.items()}
        if self._sinks.atomic:
            await self._publish_and_commit(prefixes, positions, epochs)
        else:
            await self._commit_positions(positions, epochs)
        for partition, prefix in prefixes.items():
            self._offsets.committed(partition, prefix.epoch, prefix.next_offset)
            self._crashes.committed(partition, positions[partition])
        self._health.progressed()
        self._room_freed.set()
        self._metrics.last_success.set(self._clock.now())

    async def _publish_and_commit(
        self,
        prefixes: Mapping[Partition, Prefix],
        positions: Mapping[Partition, Position],
        epochs: Mapping[Partition, int],
    ) -> None:
        pending = [commit for prefix in prefixes.values() for commit in prefix.pending]
        outgoing = [record for commit in pending for record in commit.outgoing]
        await self._retry.forever(
            "broker", lambda: self._consumer.publish_and_commit(outgoing, positions, epochs), BROKER_AWAY
        )
        self._sinks.count_published(pending)
