"""A consistent copy of a log that is written meanwhile, through SQLite's online backup."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from streams.errors import Unavailable
from streams.sqlite.failures import translate
from streams.sqlite.log_file import OPENING_SECONDS, connect


def snapshot(source: Path, target: Path) -> None:
    """Copy the log as one moment has it to `target`, in place of what is there; a file without a write-ahead log.

    Writers are not held back; the source's write-ahead log grows until the copy is made. The copy has no members: those
    of the source do not read it, and partitions would wait for their leases. Blocks: call it in a thread. Raises
    DamagedLog, Unavailable, LogFull.
    """
    for path in (target, *side_files(target)):
        path.unlink(missing_ok=True)
    try:
        with (
            closing(connect(source, busy_seconds=OPENING_SECONDS)) as reading,
            closing(sqlite3.connect(target, isolation_level=None)) as writing,
        ):
            writing.execute("PRAGMA synchronous = OFF")
            reading.backup(writing)
            writing.execute("DELETE FROM members")
            writing.execute("UPDATE claims SET owner = NULL, release_by = NULL")
    except sqlite3.Error as error:
        raise translate(error, source) or error from error


def side_files(path: Path) -> tuple[Path, Path]:
    """The write-ahead log and its index, which belong to the log at `path`."""
    return path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")


def check_unused(path: Path) -> None:
    """Raises Unavailable while another process has the log open; a log that cannot be read is not in use."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=0.5)) as connection:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
            raise Unavailable(f"{path}: another process uses the log; stop all workers, feeds and the page") from error
