"""Appending to the log: sized, checked, refused as a whole before anything is written."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from streams.sqlite.catalog import Catalog
from streams.sqlite.room import Room
from streams.sqlite.rows import Batch
from streams.transport import NewRecord

OUTPUT_ROOM = 1.1
"""Outputs that are written with their inputs' positions may exceed the limit by a tenth: finishing work is what makes
room, so a log full of inputs must not refuse the outputs."""


@dataclass(frozen=True, slots=True)
class Append:
    """A job for the writer: its records are checked and packed already, in the event loop, which has time."""

    batch: Batch
    room: Room
    limit_bytes: int
    wall: Callable[[], float]

    def __call__(self, connection: sqlite3.Connection) -> None:
        """Raises LogFull; nothing is written then."""
        if self.batch.shares:
            self.room.take(connection, self.batch.total_bytes(), self.limit_bytes)
            self.batch.append(connection, self.wall())


@dataclass(frozen=True, slots=True)
class Appender:
    """`max_bytes` bounds the pages in use; `wall` gives seconds since the epoch, for timestamps only."""

    catalog: Catalog
    max_bytes: int
    wall: Callable[[], float]
    room: Room = field(default_factory=Room)

    def records(self, outgoing: Sequence[NewRecord]) -> Append:
        """Raises TooLarge, PlanError."""
        return Append(Batch(self.catalog, outgoing), self.room, self.max_bytes, self.wall)

    def outputs(self, outgoing: Sequence[NewRecord]) -> Append:
        """As `records`, for those that are written in one transaction with the positions they come from."""
        return Append(Batch(self.catalog, outgoing), self.room, int(self.max_bytes * OUTPUT_ROOM), self.wall)
