"""A consumer's membership as its process lives it: the lease, the assignment, and handing partitions over."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Collection, Mapping
from typing import TypeVar

import structlog

from streams.errors import LogFull, Unavailable
from streams.sqlite.fetch import Cursor
from streams.sqlite.groups import AssignmentView, Member
from streams.sqlite.rows import offsets
from streams.sqlite.threads import Job, Writer
from streams.transport import Listener, Partition

HEARTBEATS_PER_LEASE = 3
"""Two may be lost before the lease runs out."""

T = TypeVar("T")

log = structlog.get_logger()


class Membership:
    """Follows the group: `cursors` are the partitions held, by row id, in the state of `version`."""

    def __init__(
        self,
        writer: Writer,
        member: Member,
        partitions: Mapping[int, Partition],
        listener: Listener,
        max_poll_seconds: float,
    ) -> None:
        self.member = member
        self.partition_ids = {partition: at for at, partition in partitions.items()}
        self.cursors: dict[int, Cursor] = {}
        self.version = -1
        self._writer, self._partitions, self._listener = writer, partitions, listener
        self._max_poll_seconds = max_poll_seconds
        self._polled = 0.0
        self._heartbeat: asyncio.Task[None] | None = None
        self._closed = False

    async def join(self) -> None:
        """Become a member. The assignment is taken up in the first `poll` or `keep_alive`."""
        self._polled = asyncio.get_running_loop().time()
        await self._writer.run(self.member.join)
        self._heartbeat = asyncio.create_task(self._beat(), name=f"lease-{self.member.name}")

    def touch(self) -> None:
        """The consumer is being polled, so its lease is renewed. Raises what ended the heartbeat."""
        self._polled = asyncio.get_running_loop().time()
        if self._heartbeat is not None and self._heartbeat.done() and not self._closed:
            self._heartbeat.result()

    async def follow(self) -> None:
        """Take up what has changed: let go of lost partitions, hand over those asked for, take new ones."""
        standing = await self._write(self.member.renew)
        if standing is None:
            await self._lose(self.cursors)
            standing = await self._write(self.member.join)
        await self._lose([at for at, cursor in self.cursors.items() if standing.held.get(at) != cursor.epoch])
        if standing.leaving:
            await self._hand_over(standing)
        elif standing.held.keys() == self.cursors.keys():
            self.version = standing.version
        else:
            await self._take(standing)

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
            await self._writer.run(self.member.leave)

    async def _write(self, job: Job[T]) -> T:
        """A member's own writes are no publishing: a full disk is to be waited out, not to end the member."""
        try:
            return await self._writer.run(job)
        except LogFull as error:
            raise Unavailable(str(error)) from error

    async def _beat(self) -> None:
        """Renew the lease while the consumer is polled; one that no longer polls loses its partitions to others."""
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
        """The partitions are someone else's already: forget them, then say so."""
        partitions = [self.cursors.pop(at).partition for at in list(ids)]
        if partitions:
            await self._revoke(partitions, self.member.drain_seconds)

    async def _hand_over(self, standing: AssignmentView) -> None:
        """Drain until the deadline that the group set; only then do the partitions move."""
        seconds = min(standing.leaving.values()) - self.member.clock()
        await self._drain([at for at in standing.leaving if at in self.cursors], seconds)
        epochs = {at: standing.held[at] for at in standing.leaving}
        for at in epochs:
            self.cursors.pop(at, None)
        await self._write(lambda connection: self.member.release(connection, epochs))

    async def _take(self, standing: AssignmentView) -> None:
        taken = {at: epoch for at, epoch in standing.held.items() if at not in self.cursors}
        self.cursors |= await self._write(lambda connection: self._cursors(connection, taken))
        await self._listener.assigned({self._partitions[at]: epoch for at, epoch in taken.items()})
        self.version = standing.version

    def _cursors(self, connection: sqlite3.Connection, epochs: Mapping[int, int]) -> dict[int, Cursor]:
        """Where reading starts: at the group's position, or at the earliest record for a new group."""
        positions, ends = self.member.positions(connection, epochs), offsets(connection, epochs)
        starts = {at: ends[at][0] if position is None else position.next_offset for at, position in positions.items()}
        return {at: Cursor(at, self._partitions[at], epoch, starts[at]) for at, epoch in epochs.items()}

    async def _drain(self, ids: Collection[int], seconds: float) -> None:
        if partitions := [self.cursors[at].partition for at in ids]:
            await self._revoke(partitions, seconds)

    async def _revoke(self, partitions: list[Partition], seconds: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, seconds)) as deadline:
                await self._listener.revoked(partitions)
        except TimeoutError:
            if not deadline.expired():
                raise
            log.warning("drain_deadline_passed", group=self.member.group, partitions=len(partitions))
