"""Opens the log's file: created whole or not at all, checked, and never reset."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

from streams.sqlite.failures import damaged, translate
from streams.sqlite.schema import APPLICATION_ID, FORMAT, PAGE_BYTES, create_tables

CHECK_SECONDS = 2.0
"""SQLite checks about a gigabyte a second: a small log is checked whole when it is opened, a large one in part. Damage
in the rest is reported when it is read."""

OPENING_SECONDS = 10.0
"""The first statement reads the file, which another process may be recovering or closing as the last one."""

CACHE_KIB = 16_384
CHECKPOINT_PAGES = 2_000
"""SQLite's own 1,000 is reached every few dozen small batches; where two processes write, whose readers keep the
write-ahead log from being restarted, every commit beyond it copies pages and synchronizes twice more."""
WAL_MAX_BYTES = 64 << 20
"""After a checkpoint the write-ahead log's file is truncated to this, so that one burst does not keep the disk."""

WAL_MAGIC = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")


def connect(path: Path, *, busy_seconds: float) -> sqlite3.Connection:
    """A connection to an existing log for a thread of its own: autocommit, WAL, every commit synchronized.

    `busy_seconds` is how long its statements wait for other processes' locks; opening may wait `OPENING_SECONDS`.
    """
    uri = f"{path.absolute().as_uri()}?mode=rw"
    connection = sqlite3.connect(
        uri, uri=True, timeout=OPENING_SECONDS, isolation_level=None, cached_statements=1024, check_same_thread=False
    )
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB:d}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES:d}")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_MAX_BYTES:d}")
    connection.execute(f"PRAGMA busy_timeout = {int(1000 * busy_seconds):d}")
    return connection


def prepare(path: Path) -> None:
    """Create the log if there is none, and check it. Raises DamagedLog, Unavailable."""
    try:
        if not path.exists():
            _create(path)
        _check_bytes(path)
        with closing(connect(path, busy_seconds=OPENING_SECONDS)) as connection:
            _check_database(connection, path)
    except sqlite3.Error as error:
        raise translate(error, path) or error from error


def _create(path: Path) -> None:
    """Write the file under another name and link it: no process ever sees an incomplete log."""
    wal = path.with_name(path.name + "-wal")
    if wal.exists() and wal.stat().st_size:
        raise damaged(path, f"the log is gone but {wal.name} is still there")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    try:
        with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES:d}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            create_tables(connection)
        with suppress(FileExistsError):  # another process was faster; its log is as good
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    _synchronize_folder(path.parent)


def _synchronize_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_bytes(path: Path) -> None:
    """What SQLite would overlook: it takes an empty file for a new database and a damaged WAL for an empty one."""
    size = path.stat().st_size
    if size == 0:
        raise damaged(path, "the file is empty")
    with path.open("rb") as file:
        header = file.read(100)
    if header[:16] != b"SQLite format 3\x00":
        raise damaged(path, "this is not a Sightline log")
    wal = path.with_name(path.name + "-wal")
    page = int.from_bytes(header[16:18], "big")
    expected = int.from_bytes(header[28:32], "big") * (65536 if page == 1 else page)
    if size < expected and not (wal.exists() and wal.stat().st_size):
        raise damaged(path, f"the file is cut off: {size} of {expected} bytes")
    with suppress(FileNotFoundError), wal.open("rb") as file:
        magic = file.read(4)
        if magic and magic not in WAL_MAGIC:
            raise damaged(path, f"{wal.name} is not a write-ahead log")


def _check_database(connection: sqlite3.Connection, path: Path) -> None:
    if (application_id := _number(connection, "application_id")) != APPLICATION_ID:
        raise damaged(path, f"this is not a Sightline log (application id {application_id:#010x})")
    if (version := _number(connection, "user_version")) > FORMAT:
        raise damaged(path, f"the log has format {version}, newer than this version's {FORMAT}")
    deadline = time.monotonic() + CHECK_SECONDS
    connection.set_progress_handler(lambda: time.monotonic() > deadline, 100_000)
    try:
        report = [row[0] for row in connection.execute("PRAGMA quick_check(3)")]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname != "SQLITE_INTERRUPT":
            raise
        report = ["ok"]  # a large log: the checked part is sound
    finally:
        connection.set_progress_handler(None, 0)
    if report != ["ok"]:
        raise damaged(path, f"the log is damaged ({'; '.join(report)})")


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])
