"""What keeps a log small: retention, compaction, space given back; at its opening, at intervals, and at its end."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import structlog

from streams.errors import LogFull, StreamError
from streams.sqlite import compaction, retention, space, wall_clock
from streams.sqlite.catalog import Catalog
from streams.sqlite.retention import FUTURE_SECONDS, Dropped, floor
from streams.sqlite.room import trim
from streams.sqlite.schema import records_table
from streams.sqlite.size_limit import ROOM_BYTES
from streams.sqlite.threads import Reader, Writer
from streams.tasks import in_daemon_thread
from streams.transport import TopicSpec

BRIEF_SECONDS = 0.5
"""A process that only opens and closes the log spends this long on old records at most; the next one goes on."""
LOCKED_SECONDS = 2.0
"""How long the end waits for a log that another process is writing to."""

log = structlog.get_logger("streams.sqlite")


class Upkeep:
    """For one opened log. `clock` reads the wall clock and the time since boot."""

    def __init__(
        self,
        path: Path,
        catalog: Catalog,
        threads: tuple[Reader, Writer],
        clock: Callable[[], wall_clock.Reading],
        *,
        hold_seconds: float,
        max_bytes: int,
    ) -> None:
        self._path, self._catalog = path, catalog
        self._reader, self._writer = threads
        self._clock, self._hold_seconds, self._max_bytes = clock, hold_seconds, max_bytes
        self._emptying: asyncio.Future[bool] | None = None
        """Goes on where it is no longer waited for: the log is not closed before its end."""

    async def keep(self, every_seconds: float) -> None:
        """Now and at every interval; then also what another process has left in the write-ahead log."""
        has_left = False
        while True:
            try:
                if await self.drop_old() or has_left:
                    await self.give_back()
            except (StreamError, sqlite3.Error, OSError) as error:
                log.warning("retention_put_off", path=str(self._path), error=str(error))
            await asyncio.sleep(every_seconds)
            has_left = space.wal_bytes(self._path) > 0

    async def end(self) -> None:
        """Before the log is closed: what may have become old since the last time, in bounded time."""
        if self._emptying is not None:
            await asyncio.gather(self._emptying, return_exceptions=True)
        try:
            async with asyncio.timeout(LOCKED_SECONDS):
                has_surplus = await self.drop_old(BRIEF_SECONDS)
            if has_surplus:
                await self.give_back(BRIEF_SECONDS)
        except TimeoutError:  # a stop is not held up by it
            log.warning("retention_put_off", path=str(self._path), error="another process writes")
        except StreamError as error:
            log.warning("retention_put_off", path=str(self._path), error=str(error))

    async def drop_old(self, seconds: float = float("inf")) -> bool:
        """Drop what is old, within `seconds`; True if anything was, or if free pages are left."""
        ends, has_dropped = time.monotonic() + seconds, False
        now = await self.trusted_now()
        await self._reader.run(self._catalog.load)
        for spec, partition_id in await self._reader.run(partial(self._due, now=now)):
            while time.monotonic() < ends:
                dropped = await self._writer.run(partial(_drop, spec=spec, partition_id=partition_id, now=now))
                self._say_restamped(spec, dropped)
                has_dropped = has_dropped or dropped.records > 0
                if dropped.is_last:
                    break
        while time.monotonic() < ends and await self._writer.run(
            partial(trim, limit_bytes=self._max_bytes, step_bytes=ROOM_BYTES)
        ):
            has_dropped = True
        return has_dropped or await self._reader.run(space.has_surplus)

    async def give_back(self, seconds: float = float("inf")) -> None:
        """Free pages to the disk, and nothing of what was dropped stays in the write-ahead log."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends and await self._writer.run(space.shrink):
            pass
        self._emptying = asyncio.ensure_future(in_daemon_thread(partial(space.empty_wal, self._path)))
        await asyncio.shield(self._emptying)

    async def compact(self) -> tuple[int, int]:
        """Drop what is old and give all free space back; bytes on the disk before and after."""
        before = space.file_bytes(self._path)
        await self.drop_old()
        if await self._reader.run(_is_incremental):
            while await self._writer.run(partial(space.shrink, kept_share=0, kept_pages=0)):
                pass
        else:
            await in_daemon_thread(partial(space.rebuild, self._path))
        await in_daemon_thread(partial(space.empty_wal, self._path, space.COMPACT_SECONDS))
        return before, space.file_bytes(self._path)

    async def trusted_now(self) -> float | None:
        """Seconds since the epoch; None while the wall clock cannot be believed."""
        reading = self._clock()

        def look(connection: sqlite3.Connection) -> tuple[wall_clock.ClockState, bool]:
            state = wall_clock.load(connection, reading).next(reading, self._hold_seconds)
            return state, wall_clock.is_saved(connection, state)

        state, is_saved = await self._reader.run(look)
        if not is_saved:
            with suppress(LogFull):  # of the disk: a worker waits for room elsewhere, and may open the log meanwhile
                await self._writer.run(partial(wall_clock.save, state=state))
        if state.jump_seconds:
            log.warning(
                "clock_jumped",
                path=str(self._path),
                jump_seconds=round(state.jump_seconds),
                remedy=f"no record and no picture is dropped for its age until the clock is back, or has run evenly for"
                f" {self._hold_seconds / 3600:g} h; set the clock if it is wrong",
            )
        return reading.wall if state.is_trusted else None

    def _due(self, connection: sqlite3.Connection, now: float | None) -> list[tuple[TopicSpec, int]]:
        """Partitions of which something may be dropped; a look at their first records."""
        return [
            (spec, partition_id)
            for name, spec in self._catalog.specs().items()
            for partition_id in self._catalog.topic(name).partition_ids
            if _is_due(connection, spec, partition_id, now)
        ]

    def _say_restamped(self, spec: TopicSpec, dropped: Dropped) -> None:
        if dropped.restamped:
            log.warning("record_from_the_future", topic=spec.name, remedy="its age counts from now")


def _drop(connection: sqlite3.Connection, spec: TopicSpec, partition_id: int, now: float | None) -> Dropped:
    if spec.compacted:
        return compaction.compact(connection, partition_id, now)
    return retention.expire(connection, spec, partition_id, now)


def _is_due(connection: sqlite3.Connection, spec: TopicSpec, partition_id: int, now: float | None) -> bool:
    below, table = floor(connection, partition_id), records_table(partition_id)
    used, compacted_to = connection.execute(
        "SELECT bytes, compacted_to FROM partitions WHERE id = ?", (partition_id,)
    ).fetchone()
    if spec.compacted:
        oldest = None if now is None else now - compaction.TOMBSTONE_SECONDS
        tombstone = f"SELECT 1 FROM {table} WHERE value IS NULL AND timestamp < ? LIMIT 1"  # noqa: S608 - our own tables
        return compacted_to < below or bool(oldest and connection.execute(tombstone, (oldest,)).fetchone())
    if spec.retention_bytes is not None and used > spec.retention_bytes:
        return True
    if now is None or spec.retention_seconds is None:
        return False
    first = connection.execute(
        f"SELECT timestamp FROM {table} WHERE record_offset < ? ORDER BY record_offset LIMIT 1",  # noqa: S608
        (below,),
    ).fetchone()
    return first is not None and not now - spec.retention_seconds <= first[0] <= now + FUTURE_SECONDS


def _is_incremental(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("PRAGMA auto_vacuum").fetchone()[0] == space.INCREMENTAL)
