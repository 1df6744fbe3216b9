"""The log's size limit: checked rarely while much room is left, before every write when little is."""

from __future__ import annotations

import sqlite3

from streams.errors import LogFull

UNCHECKED_SHARE = 1 / 16
"""Of the room that was left, this much is written before the size is read again: other processes write meanwhile, and
records take somewhat more on their pages. Reading the size costs a small batch a twentieth of its time."""


class SizeLimit:
    """For the writer's thread alone."""

    def __init__(self) -> None:
        self._used, self._written = 0, float("inf")

    def reserve(self, connection: sqlite3.Connection, size_bytes: int, limit_bytes: int) -> None:
        """Raises LogFull if `size_bytes` more would exceed `limit_bytes`, which bounds the pages in use."""
        if self._written + size_bytes > UNCHECKED_SHARE * (limit_bytes - self._used):
            self._used, self._written = used_bytes(connection), 0
        if self._used + self._written + size_bytes > limit_bytes:
            raise LogFull(
                f"the log holds {self._used} bytes, its limit is {limit_bytes}: it takes records again when retention"
                " has dropped old ones; what a registered group has not finished is kept"
            )
        self._written += size_bytes


def used_bytes(connection: sqlite3.Connection) -> int:
    """Bytes in use: the file's pages less those that deleted records left free for the next ones."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
