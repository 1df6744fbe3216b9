"""Appending to the log: sized, checked, refused as a whole before anything is written."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from streams.sqlite.catalog import Catalog
from streams.sqlite.record_batch import Batch
from streams.sqlite.size_limit import Shares, SizeLimit
from streams.transport import NewRecord


@dataclass(frozen=True, slots=True)
class Append:
    """A job for the writer: its records are checked and packed already, in the event loop, which has time."""

    batch: Batch
    size_limit: SizeLimit
    limit_bytes: int
    wall: Callable[[], float]

    def __call__(self, connection: sqlite3.Connection) -> None:
        """Raises LogFull; nothing is written then."""
        if self.batch.by_partition:
            self.size_limit.reserve(connection, self.batch.size_bytes(), self.limit_bytes)
            self.batch.append(connection, self.wall())


@dataclass(frozen=True, slots=True)
class Appender:
    """`shares` bounds the pages in use; `wall` gives seconds since the epoch, for timestamps only."""

    catalog: Catalog
    shares: Shares
    wall: Callable[[], float]
    size_limit: SizeLimit = field(default_factory=SizeLimit)

    def records(self, outgoing: Sequence[NewRecord]) -> Append:
        """Raises TooLarge, PlanError. A full log still takes records of compacted topics: deletions must not wait."""
        batch = Batch(self.catalog, outgoing)
        is_control = all(rows.compacted for rows in batch.by_partition.values())
        limit = self.shares.outputs_bytes if is_control else self.shares.records_bytes
        return Append(batch, self.size_limit, limit, self.wall)

    def outputs(self, outgoing: Sequence[NewRecord]) -> Append:
        """As `records`, for those that are written in one transaction with their inputs' positions."""
        return Append(Batch(self.catalog, outgoing), self.size_limit, self.shares.outputs_bytes, self.wall)
