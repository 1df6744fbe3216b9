"""Space that dropped records leave: back to the disk in small steps, and no byte of them in the write-ahead log."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from streams.sqlite.failures import translate
from streams.sqlite.log_file import connect

INCREMENTAL = 2
"""`PRAGMA auto_vacuum` of files whose free pages can be given back one by one; those of format 1 have 0."""

STEP_PAGES = 256
"""Pages given back in one transaction: 2 MiB."""

KEPT_SHARE, KEPT_PAGES = 1 / 16, 64
"""Free pages that stay for the next records: a share of those in use, or this many."""

COMPACT_SECONDS = 60.0
"""How long compaction waits for other processes' transactions and for readers of the write-ahead log."""


def shrink(connection: sqlite3.Connection, kept_share: float = KEPT_SHARE, kept_pages: int = KEPT_PAGES) -> bool:
    """Give one step of free pages back, within a transaction; True while there are more."""
    if _number(connection, "auto_vacuum") != INCREMENTAL:
        return False
    free, pages = _number(connection, "freelist_count"), _number(connection, "page_count")
    surplus = free - int(max(kept_pages, kept_share * (pages - free)))
    if surplus <= 0:
        return False
    for _ in range(min(surplus, STEP_PAGES)):  # one page a statement: Python ends it after the first
        connection.execute("PRAGMA incremental_vacuum(1)")
    return surplus > STEP_PAGES


def has_surplus(connection: sqlite3.Connection) -> bool:
    free, pages = _number(connection, "freelist_count"), _number(connection, "page_count")
    is_incremental = _number(connection, "auto_vacuum") == INCREMENTAL
    return is_incremental and free > max(KEPT_PAGES, KEPT_SHARE * (pages - free))


def empty_wal(path: Path, wait_seconds: float = 0.1) -> bool:
    """Copy the write-ahead log into the file and cut it to nothing; False where a reader still needs it. Blocks."""
    try:
        with closing(connect(path, busy_seconds=wait_seconds)) as connection:
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return not busy
    except sqlite3.Error as error:
        raise translate(error, path) or error from error


def rebuild(path: Path) -> None:
    """Write the whole file again, without free pages, while others have it open: they wait meanwhile. Blocks.

    It needs twice the log's size on the disk. A file of format 1 gives its space back in small steps from then on.
    """
    try:
        with closing(connect(path, busy_seconds=COMPACT_SECONDS)) as connection:
            connection.execute(f"PRAGMA auto_vacuum = {INCREMENTAL:d}")
            connection.execute("VACUUM")
    except sqlite3.Error as error:
        raise translate(error, path) or error from error


def file_bytes(path: Path) -> int:
    """The log's size on the disk, its write-ahead log included."""
    return path.stat().st_size + wal_bytes(path)


def wal_bytes(path: Path) -> int:
    """The size of the write-ahead log, which another process may remove at any time."""
    try:
        return path.with_name(path.name + "-wal").stat().st_size
    except FileNotFoundError:
        return 0


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])
