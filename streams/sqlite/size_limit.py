"""The log's size limit: checked rarely while much room is left, before every write when little is."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass

import structlog

from streams.errors import LogFull
from streams.sqlite.log_file import WAL_MAX_BYTES
from streams.sqlite.room import make_room, used_bytes, who_holds

UNCHECKED_SHARE = 1 / 16
"""Of the room that was left, this much is written before the size is read again: other processes write meanwhile, and
records take somewhat more on their pages. Reading the size costs a small batch a twentieth of its time."""

ROOM_SHARE = 1 / 32
ROOM_BYTES = 16 << 20
"""A full log makes so much room at once, at most: not for every write, and not in a transaction that takes long."""

REPORT_SECONDS = 3600.0
"""A log that is full all the time says so this often."""

log = structlog.get_logger("streams.sqlite")


OUTPUT_FACTOR = 1.1
"""Outputs that are written with their inputs' positions have a tenth more room: finishing work is what makes room, so a
log full of inputs must not refuse the outputs."""
WAL_SHARE = 1 / 8


@dataclass(frozen=True, slots=True)
class Shares:
    """How the bytes that a log may take on the disk are divided; the pages in use share the rest."""

    max_bytes: int

    @property
    def wal_bytes(self) -> int:
        """For the write-ahead log."""
        return min(WAL_MAX_BYTES, int(WAL_SHARE * self.max_bytes))

    @property
    def outputs_bytes(self) -> int:
        """Up to here outputs are taken, and what must not wait for room."""
        return self.max_bytes - self.wal_bytes

    @property
    def records_bytes(self) -> int:
        """Up to here all records are taken."""
        return int(self.outputs_bytes / OUTPUT_FACTOR)


class SizeLimit:
    """For the writer's thread alone."""

    def __init__(self) -> None:
        self._used, self._written = 0, float("inf")
        self._reported = float("-inf")

    def reserve(self, connection: sqlite3.Connection, size_bytes: int, limit_bytes: int) -> None:
        """Make room where `size_bytes` more would exceed `limit_bytes`, which bounds the pages in use.

        Raises LogFull when what is left is not finished.
        """
        if self._written + size_bytes > UNCHECKED_SHARE * (limit_bytes - self._used):
            self._used, self._written = used_bytes(connection), 0
        # Of a log that is larger than a lowered limit, a write drops a step, and is taken if the log does not grow.
        bound_bytes = max(limit_bytes, self._used)
        room_bytes = int(min(ROOM_SHARE * limit_bytes, ROOM_BYTES))
        while (excess := self._used + self._written + size_bytes - bound_bytes) > 0:
            dropped = make_room(connection, int(excess) + room_bytes)
            if not dropped:
                raise LogFull(self._why(connection, limit_bytes))
            self._report(dropped, limit_bytes)
            self._used, self._written = used_bytes(connection), 0
        self._written += size_bytes

    def _why(self, connection: sqlite3.Connection, limit_bytes: int) -> str:
        holds = who_holds(connection) or "what is there is kept for its last value"
        return (
            f"the log is full: {self._used} bytes of {limit_bytes}, and nothing is left that may be dropped: {holds};"
            " run its workers (`sightline work`), give a group up that never comes back (`sightline groups`), or raise"
            " `log_bytes` in [storage]"
        )

    def _report(self, dropped: int, limit_bytes: int) -> None:
        now = time.monotonic()
        if now - self._reported >= REPORT_SECONDS:
            self._reported = now
            log.warning(
                "full_log_drops_finished_records",
                limit_bytes=limit_bytes,
                records=dropped,
                remedy="before their retention, oldest first; raise log_bytes in [storage] to keep them for longer",
            )
