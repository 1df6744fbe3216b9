"""One member of a consumer group on the embedded log: polls, rebalances, commits."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence

from streams.errors import Fenced, Gap
from streams.sqlite.append import Appender
from streams.sqlite.failures import DamagedRecord
from streams.sqlite.groups import Member, lag
from streams.sqlite.membership import Membership
from streams.sqlite.read_ahead import RecordRange
from streams.sqlite.read_cursor import Fetched, ReadCursor, fetch
from streams.sqlite.record_batch import Batch
from streams.sqlite.threads import Reader, Writer
from streams.transport import NewRecord, Partition, Position, Record

IDLE_SECONDS = (0.002, 0.016)
"""An idle poll looks for records of other processes after the first pause, which doubles up to the second."""


class SqliteConsumer:
    """See `streams.transport.Consumer`. `late_positions` counts positions left out because their epoch had ended."""

    def __init__(
        self,
        reader: Reader,
        writer: Writer,
        appender: Appender,
        membership: Membership,
        published: Callable[[Batch], None],
        closed: Callable[[SqliteConsumer], None],
    ) -> None:
        self._reader, self._writer, self._appender, self._membership = reader, writer, appender, membership
        self._published, self._closed = published, closed
        self._member: Member = membership.member
        self._ids = membership.partition_ids
        self._turn = 0
        self.late_positions = 0
        self._arrived: asyncio.Future[None] | None = None

    async def poll(self, max_records: int, timeout_seconds: float) -> Sequence[Record]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        pause, max_pause = IDLE_SECONDS
        while True:
            self._membership.touch()
            self._arrived = arrived = loop.create_future()
            fetched = await self._reader.run(self._next_fetch(max_records))
            if fetched.version != self._membership.version:
                await self._membership.follow()
                continue
            if fetched.runs or fetched.gaps:
                try:
                    return self._accept(fetched)
                except DamagedRecord as error:
                    raise error.in_file(self._reader.path) from error
            if (left := deadline - loop.time()) <= 0:
                return ()
            timer = loop.call_later(min(pause, left), self._wake)
            await arrived
            timer.cancel()
            pause = min(2 * pause, max_pause)

    def cache(self, batch: Batch) -> None:
        """Keep what this process has published, so that it is not read back; a waiting poll goes on."""
        cursors = self._membership.cursors
        for partition_id, rows in batch.by_partition.items():
            if (cursor := cursors.get(partition_id)) is not None and not rows.compacted:
                cursor.cache(RecordRange(batch.first_offsets[partition_id], batch.timestamp, rows))
        self._wake()

    def _wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    async def keep_alive(self) -> None:
        self._membership.touch()
        if await self._reader.run(self._member.version) != self._membership.version:
            await self._membership.follow()

    def assignment(self) -> Mapping[Partition, int]:
        return {cursor.partition: cursor.epoch for cursor in self._membership.cursors.values()}

    async def committed(self, partition: Partition) -> Position | None:
        partition_id = self._ids[partition]
        return (await self._reader.run(lambda connection: self._member.positions(connection, [partition_id])))[
            partition_id
        ]

    async def commit(self, positions: Mapping[Partition, Position], epochs: Mapping[Partition, int]) -> None:
        by_id, epochs_by_id = self._by_id(positions, epochs)
        try:
            self.late_positions += await self._writer.run(
                lambda connection: self._member.commit(connection, by_id, epochs_by_id)
            )
        except Fenced:
            self.late_positions += len(positions)
            raise

    async def publish_and_commit(
        self,
        outgoing: Sequence[NewRecord],
        positions: Mapping[Partition, Position],
        epochs: Mapping[Partition, int],
    ) -> None:
        by_id, epochs_by_id = self._by_id(positions, epochs)
        append = self._appender.outputs(outgoing)

        def write(connection: sqlite3.Connection) -> None:
            self._member.check(connection, epochs_by_id)
            append(connection)
            self._member.commit(connection, by_id, epochs_by_id)

        try:
            await self._writer.run(write)
        except Fenced:
            self.late_positions += len(positions)
            raise
        self._published(append.batch)

    async def lag(self) -> Mapping[Partition, int]:
        held = {partition_id: cursor.partition for partition_id, cursor in self._membership.cursors.items()}
        lags = await self._reader.run(lambda connection: lag(connection, self._member.group, list(held)))
        return {held[partition_id]: records for partition_id, records in lags.items()}

    async def close(self) -> None:
        try:
            await self._membership.leave()
        finally:
            self._closed(self)

    def _by_id(
        self, positions: Mapping[Partition, Position], epochs: Mapping[Partition, int]
    ) -> tuple[dict[int, Position], dict[int, int]]:
        return (
            {self._ids[partition]: position for partition, position in positions.items()},
            {self._ids[partition]: epochs.get(partition, -1) for partition in positions},
        )

    def _next_fetch(self, max_records: int) -> Callable[[sqlite3.Connection], Fetched]:
        """A job for the reader; if the assignment has changed, it reads nothing."""
        known = self._membership.version
        cursors = [cursor for cursor in self._membership.cursors.values() if not cursor.parked]
        turn = self._turn % max(1, len(cursors))
        turns = [(cursor, tuple(cursor.read_ahead.ranges)) for cursor in cursors[turn:] + cursors[:turn]]

        def run(connection: sqlite3.Connection) -> Fetched:
            version = self._member.version(connection)
            return Fetched(version) if version != known else fetch(connection, version, turns, max_records)

        return run

    def _accept(self, fetched: Fetched) -> list[Record]:
        """Move the cursors past what is handed out. A gap is raised first: what was read with it is read again."""
        if fetched.gaps:
            raise self._park(*fetched.gaps[0])
        self._turn += 1
        return fetched.accept()

    def _park(self, cursor: ReadCursor, first_offset: int) -> Gap:
        cursor.parked = True
        return Gap(
            f"{cursor.partition.topic}[{cursor.partition.index}]: group {self._member.group} is at"
            f" {cursor.next_offset}, but the log starts at {first_offset}; the partition is paused"
        )
