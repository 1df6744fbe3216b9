"""A consumer's membership on the side of its process: the lease, the assignment, and handing partitions over."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Collection, Mapping
from typing import TypeVar

import structlog

from streams.errors import LogFull, Unavailable
from streams.sqlite.groups import AssignmentView, Member
from streams.sqlite.read_cursor import ReadCursor
from streams.sqlite.record_rows import offsets
from streams.sqlite.threads import Job, Writer
from streams.transport import Listener, Partition

HEARTBEATS_PER_LEASE = 3
"""Two may fail before the lease runs out."""

T = TypeVar("T")

log = structlog.get_logger()


class Membership:
    """Follows the group: `cursors` are the partitions held, by row id, as of the group's `version`."""

    def __init__(
        self,
        writer: Writer,
        member: Member,
        partitions: Mapping[int, Partition],
        listener: Listener,
        max_poll_seconds: float,
    ) -> None:
        self.member = member
        self.partition_ids = {partition: partition_id for partition_id, partition in partitions.items()}
        self.cursors: dict[int, ReadCursor] = {}
        self.version = -1
        self._writer, self._partitions, self._listener = writer, partitions, listener
        self._max_poll_seconds = max_poll_seconds
        self._polled = 0.0
        self._heartbeat: asyncio.Task[None] | None = None
        self._closed = False

    async def join(self) -> None:
        """Become a member. The first `poll` or `keep_alive` adopts the assignment."""
        self._polled = asyncio.get_running_loop().time()
        await self._write(self.member.join)
        self._heartbeat = asyncio.create_task(self._beat(), name=f"lease-{self.member.name}")

    def touch(self) -> None:
        """The consumer is being polled, so its lease is renewed. Raises what ended the heartbeat."""
        self._polled = asyncio.get_running_loop().time()
        if self._heartbeat is not None and self._heartbeat.done() and not self._closed:
            self._heartbeat.result()

    async def follow(self) -> None:
        """Adopt what has changed: drop lost partitions, hand over those that the group asks for, take new ones."""
        view = await self._write(self.member.renew)
        if view is None:
            await self._lose(self.cursors)
            view = await self._write(self.member.join)
        await self._lose(
            [
                partition_id
                for partition_id, cursor in self.cursors.items()
                if view.held.get(partition_id) != cursor.epoch
            ]
        )
        if view.leaving:
            await self._hand_over(view)
        elif view.held.keys() == self.cursors.keys():
            self.version = view.version
        else:
            await self._take(view)

    async def leave(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            await self._drain(self.cursors, self.member.drain_seconds)
        finally:
            if self._heartbeat is not None:
                self._heartbeat.cancel()
                await asyncio.gather(self._heartbeat, return_exceptions=True)
            self.cursors.clear()
            await self._write(self.member.leave)

    async def _write(self, job: Job[T]) -> T:
        """A full log refuses publishing; a member's own writes wait for a full disk instead of ending the member."""
        try:
            return await self._writer.run(job)
        except LogFull as error:
            raise Unavailable(str(error)) from error

    async def _beat(self) -> None:
        """Renew the lease while the consumer is polled; without polls it runs out, and others get the partitions."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.member.lease_seconds / HEARTBEATS_PER_LEASE)
            if loop.time() - self._polled > self._max_poll_seconds:
                continue
            try:
                if await self._write(self.member.renew) is None:
                    self.version = -1
            except Unavailable as error:
                log.warning("lease_not_renewed", group=self.member.group, error=str(error))

    async def _lose(self, ids: Collection[int]) -> None:
        """Drop partitions that belong to another member already, then tell the listener."""
        partitions = [self.cursors.pop(partition_id).partition for partition_id in list(ids)]
        if partitions:
            await self._revoke(partitions, self.member.drain_seconds)

    async def _hand_over(self, view: AssignmentView) -> None:
        """Drain until the deadline that the group set; only then do the partitions move."""
        seconds = min(view.leaving.values()) - self.member.clock()
        await self._drain([partition_id for partition_id in view.leaving if partition_id in self.cursors], seconds)
        epochs = {partition_id: view.held[partition_id] for partition_id in view.leaving}
        for partition_id in epochs:
            self.cursors.pop(partition_id, None)
        await self._write(lambda connection: self.member.release(connection, epochs))

    async def _take(self, view: AssignmentView) -> None:
        taken = {partition_id: epoch for partition_id, epoch in view.held.items() if partition_id not in self.cursors}
        self.cursors |= await self._write(lambda connection: self._new_cursors(connection, taken))
        await self._listener.assigned({self._partitions[partition_id]: epoch for partition_id, epoch in taken.items()})
        self.version = view.version

    def _new_cursors(self, connection: sqlite3.Connection, epochs: Mapping[int, int]) -> dict[int, ReadCursor]:
        """They start at the group's position, or at the earliest record for a new group."""
        positions, ends = self.member.positions(connection, epochs), offsets(connection, epochs)
        starts = {
            partition_id: ends[partition_id][0] if position is None else position.next_offset
            for partition_id, position in positions.items()
        }
        return {
            partition_id: ReadCursor(partition_id, self._partitions[partition_id], epoch, starts[partition_id])
            for partition_id, epoch in epochs.items()
        }

    async def _drain(self, ids: Collection[int], seconds: float) -> None:
        if partitions := [self.cursors[partition_id].partition for partition_id in ids]:
            await self._revoke(partitions, seconds)

    async def _revoke(self, partitions: list[Partition], seconds: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, seconds)) as deadline:
                await self._listener.revoked(partitions)
        except TimeoutError:
            if not deadline.expired():
                raise
            log.warning("drain_deadline_passed", group=self.member.group, partitions=len(partitions))
