"""Appending to the log: sized, checked, refused as a whole before anything is written."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from streams.errors import LogFull
from streams.sqlite.catalog import Catalog
from streams.sqlite.rows import Batch
from streams.transport import Outgoing

Append = Callable[[sqlite3.Connection], None]
"""Appends records that are checked and packed already, in the event loop: it has time, the writer's thread has not."""

OUTPUT_ROOM = 1.1
"""Outputs that are written with their inputs' positions may exceed the limit by a tenth: finishing work is what makes
room, so a log full of inputs must not refuse the outputs."""


@dataclass(frozen=True, slots=True)
class Appender:
    """`max_bytes` bounds the pages in use; `wall` gives seconds since the epoch, for timestamps only."""

    catalog: Catalog
    max_bytes: int
    wall: Callable[[], float]

    def records(self, outgoing: Sequence[Outgoing]) -> Append:
        """Raises TooLarge, PlanError; what it returns raises LogFull. Nothing is written then."""
        return partial(self._append, Batch(self.catalog, outgoing), self.max_bytes)

    def outputs(self, outgoing: Sequence[Outgoing]) -> Append:
        """As `records`, for those that are written in one transaction with the positions they come from."""
        return partial(self._append, Batch(self.catalog, outgoing), int(self.max_bytes * OUTPUT_ROOM))

    def _append(self, batch: Batch, max_bytes: int, connection: sqlite3.Connection) -> None:
        if batch.columns and (used := used_bytes(connection)) + batch.total_bytes() > max_bytes:
            raise LogFull(
                f"the log holds {used} bytes, its limit is {self.max_bytes}: it takes records again when retention"
                " has dropped old ones; what a registered group has not finished is kept"
            )
        batch.append(connection, self.wall())


def used_bytes(connection: sqlite3.Connection) -> int:
    """Bytes in use: the file's pages less those that deleted records left free for the next ones."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
