"""SQLite's errors as the runtime's, by what is done about them."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from streams.errors import DamagedLog, LogFull, StreamError, Unavailable

DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_IOERR_SHORT_READ", "SQLITE_SCHEMA", "SQLITE_FORMAT")
"""A file that was truncated, overwritten, or is not a database at all."""

FOREIGN = "nothing was changed; restore it from a copy, or move it and its -wal and -shm files away to start a new log"
REMEDY = (
    "nothing was changed; run `sightline repair`, which saves what can be read in a new log, restore it from a backup"
    " (`sightline restore`), or move it and its -wal and -shm files away"
)

MISSING = ("no such table", "no such column", "has no column", "malformed")


class DamagedRecord(DamagedLog):
    """One record is not as it was written; names its topic, partition and offset, to which `in_file` adds the file."""

    def in_file(self, path: Path) -> DamagedLog:
        return DamagedLog(
            f"{path}: {self}; the log is otherwise as it was: restore it from a backup (`sightline restore`), or run"
            " `sightline repair`"
        )


def damaged(path: Path, reason: str, remedy: str = REMEDY) -> DamagedLog:
    return DamagedLog(f"{path}: {reason}; {remedy}")


def translate(error: sqlite3.Error, path: Path) -> StreamError | None:
    """The runtime's error for `error`; None for a programming error (a wrong type, bad SQL)."""
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(DAMAGED):
        return damaged(path, f"the log is damaged ({error})")
    if name.startswith("SQLITE_FULL"):
        return LogFull(f"{path}: the disk is full: free space on it; `sightline storage` says what takes how much")
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")) and not os.access(path.parent, os.W_OK):
        return Unavailable(f"{path}: the folder cannot be written; make it writable, or choose another with --data")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY")):
        return Unavailable(f"{path}: {error} ({name})")
    if str(error).startswith(MISSING):
        return damaged(path, f"a part of the log is missing ({error})")
    return None
