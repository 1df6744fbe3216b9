"""A consistent copy of a log that is written meanwhile, through SQLite's online backup."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from streams.errors import Unavailable
from streams.sqlite.failures import DamagedRecord, damaged, translate
from streams.sqlite.log_file import OPENING_SECONDS, connect
from streams.sqlite.record_rows import read_rows, to_records
from streams.transport import Partition

CHECKED_RECORDS = 1_000
"""Read at once."""


class PinnedLog:
    """A log as it was when this was made, to be copied later. Writers go on; its write-ahead log grows until `close`.

    Blocks: make and use it in threads. Raises DamagedLog, Unavailable.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._reading = connect(path, busy_seconds=OPENING_SECONDS)
            self._reading.execute("BEGIN")
            self._reading.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # begins to read
        except sqlite3.Error as error:
            raise translate(error, path) or error from error

    def copy(self, target: Path) -> None:
        """To `target`, in place of what is there; a file without a write-ahead log.

        The copy has no members: those of the log do not read it, and partitions would wait for their leases. It is read
        whole: a copy of damage would take the place of a good one. Raises OSError where the disk of `target` is full.
        """
        for path in (target, *side_files(target)):
            path.unlink(missing_ok=True)
        try:
            with closing(sqlite3.connect(target, isolation_level=None)) as writing:
                writing.execute("PRAGMA synchronous = OFF")
                self._reading.backup(writing)
                writing.execute("DELETE FROM members")
                writing.execute("UPDATE claims SET owner = NULL, release_by = NULL")
                _check(writing, self._path)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorname", "").startswith("SQLITE_FULL"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target)) from error
            raise translate(error, self._path) or error from error

    def close(self) -> None:
        self._reading.close()


def _check(copy: sqlite3.Connection, source: Path) -> None:
    """SQLite's own check of its pages, and every record's checksum."""
    if (report := copy.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
        raise damaged(source, f"the log is damaged ({report})")
    partitions = "SELECT partitions.id, name, number FROM partitions JOIN topics ON topics.id = topic_id"
    for partition_id, topic, number in copy.execute(partitions).fetchall():
        offset = 0
        while rows := read_rows(copy, partition_id, offset, CHECKED_RECORDS)[0]:
            try:
                to_records(rows, Partition(topic, number), -1)
            except DamagedRecord as error:
                raise error.in_file(source) from error
            offset = rows[-1][0] + 1


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
