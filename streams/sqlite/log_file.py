"""Opens the log's file: created whole or not at all, checked, migrated, and never reset."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

from streams.sqlite.failures import damaged, translate
from streams.sqlite.file_check import check_bytes, check_format, check_pages, check_tables, is_open_here
from streams.sqlite.schema import FORMAT, PAGE_BYTES, create_tables, migrate
from streams.sqlite.wal_check import WalCheck

OPENING_SECONDS = 10.0
"""The first statement reads the file, which another process may be recovering or closing as the last one."""

CACHE_KIB = 16_384
CHECKPOINT_PAGES = 2_000
"""SQLite's own 1,000 is reached every few dozen small batches; where two processes write, whose readers keep the
write-ahead log from being restarted, every commit beyond it copies pages and synchronizes twice more."""
WAL_MAX_BYTES = 64 << 20
"""After a checkpoint the write-ahead log's file is truncated to this, so that one burst does not keep the disk."""
CHECKPOINT_SHARE = 2 / 3
"""Of the room for a write-ahead log: so far it grows before a checkpoint, and one more transaction fits."""


def connect(
    path: Path, *, busy_seconds: float, read_only: bool = False, wal_bytes: int = WAL_MAX_BYTES
) -> sqlite3.Connection:
    """A connection to an existing log for a thread of its own: autocommit, WAL, every commit synchronized.

    `busy_seconds` is how long its statements wait for other processes' locks; opening may wait `OPENING_SECONDS`.
    `wal_bytes` is the room for the write-ahead log, which a transaction may exceed for a moment.
    Deleted records are overwritten, which not every build of SQLite does by itself.
    """
    uri = f"{path.absolute().as_uri()}?{_mode(path) if read_only else 'mode=rw'}"
    connection = sqlite3.connect(
        uri, uri=True, timeout=OPENING_SECONDS, isolation_level=None, cached_statements=1024, check_same_thread=False
    )
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB:d}")
    checkpoint_pages = max(1, min(CHECKPOINT_PAGES, int(CHECKPOINT_SHARE * wal_bytes / PAGE_BYTES)))
    connection.execute(f"PRAGMA wal_autocheckpoint = {checkpoint_pages:d}")
    connection.execute(f"PRAGMA journal_size_limit = {wal_bytes:d}")
    connection.execute(f"PRAGMA busy_timeout = {int(1000 * busy_seconds):d}")
    return connection


def is_read_only(path: Path) -> bool:
    """Whether this user, or the disk, allows reading only."""
    return path.exists() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))


def prepare(path: Path) -> None:
    """Create the log if there is none, check it, and migrate it. Raises DamagedLog, Unavailable."""
    try:
        if not path.exists():
            _create(path)
        wal = None if is_open_here(path) else _checked_bytes(path)
        # The last one that may write copies the write-ahead log into the file: a damaged one is only read.
        read_only = bool(wal and wal.has_frames) or is_read_only(path)
        with closing(connect(path, busy_seconds=OPENING_SECONDS, read_only=read_only)) as connection:
            version = check_format(connection, path)
            check_pages(connection, path)
        if wal is not None:
            wal.verify()
        if is_read_only(path):
            return
        with closing(connect(path, busy_seconds=OPENING_SECONDS)) as connection:
            if version < FORMAT:
                migrate(connection)
            connection.execute("BEGIN")
            check_tables(connection, path)
    except sqlite3.Error as error:
        raise translate(error, path) or damaged(path, f"the log is damaged ({error})") from error


def _checked_bytes(path: Path) -> WalCheck:
    check_bytes(path)
    return WalCheck(path)


def _mode(path: Path) -> str:
    """`immutable` where the folder has no write-ahead log and none can be made."""
    wal = path.with_name(path.name + "-wal")
    is_closed = not wal.exists() or wal.stat().st_size == 0
    return "mode=ro&immutable=1" if is_closed and not os.access(path.parent, os.W_OK) else "mode=ro"


def _create(path: Path) -> None:
    """Write the file under another name and link it: no process ever sees an incomplete log."""
    wal = path.with_name(path.name + "-wal")
    if wal.exists() and wal.stat().st_size:
        raise damaged(path, f"the log is gone but {wal.name} is still there")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    try:
        with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
            lay_out(connection)
        with suppress(FileExistsError):  # another process was faster; its log is as good
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    synchronize_folder(path.parent)


def lay_out(connection: sqlite3.Connection) -> None:
    """Make a log of an empty file."""
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES:d}")
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before the first page is written
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    create_tables(connection)


def synchronize_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
