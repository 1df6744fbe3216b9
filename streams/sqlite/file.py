"""Opening the log's file: made whole or not at all, checked, and never reset behind anyone's back."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

from streams.sqlite.failures import damaged, translate
from streams.sqlite.schema import APPLICATION_ID, FORMAT, PAGE_BYTES, create_tables

CHECK_SECONDS = 2.0
"""SQLite checks about a gigabyte a second: small logs are checked whole at open, of a large one what fits. Damage in
the rest is still reported as such when it is read."""

OPENING_SECONDS = 10.0
"""The first statement reads the file, which another process may be recovering or closing as the last one."""

CACHE_KIB = 16_384
CHECKPOINT_PAGES = 2_000
"""SQLite's own 1,000 is reached every few dozen small batches; where two processes write, whose readers keep the
write-ahead log from starting anew, every commit beyond it copies pages and synchronises twice more."""
WAL_KEPT_BYTES = 64 << 20
"""After a checkpoint the write-ahead log's file is cut back to this, so that one burst does not hold the disk."""

WAL_MAGIC = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")


def connect(path: Path, *, busy_seconds: float) -> sqlite3.Connection:
    """A connection to an existing log for a thread of its own: autocommit, WAL, every commit synchronised.

    `busy_seconds` is how long its statements wait for other processes' locks; opening may wait `OPENING_SECONDS`.
    """
    uri = f"{path.absolute().as_uri()}?mode=rw"
    connection = sqlite3.connect(
        uri, uri=True, timeout=OPENING_SECONDS, isolation_level=None, cached_statements=1024, check_same_thread=False
    )
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB:d}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES:d}")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES:d}")
    connection.execute(f"PRAGMA busy_timeout = {int(1000 * busy_seconds):d}")
    return connection


def prepare(path: Path) -> None:
    """Create the log where there is none and check the one that is there. Raises DamagedLog, Unavailable."""
    try:
        if not path.exists():
            _create(path)
        _check_outside(path)
        with closing(connect(path, busy_seconds=OPENING_SECONDS)) as connection:
            _check_inside(connection, path)
    except sqlite3.Error as error:
        raise translate(error, path) or error from error


def _create(path: Path) -> None:
    """Make the file beside its place and link it there: whoever finds a log finds a whole one."""
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
        with suppress(FileExistsError):  # another process was faster; theirs is as good
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    _synchronise_folder(path.parent)


def _synchronise_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_outside(path: Path) -> None:
    """What SQLite would overlook: it takes an empty file for a new database and a spoiled WAL for an empty one."""
    size = path.stat().st_size
    if size == 0:
        raise damaged(path, "the file is empty")
    with path.open("rb") as file:
        header = file.read(100)
    if header[:16] != b"SQLite format 3\x00":
        raise damaged(path, "this is not a Sightline log")
    wal = path.with_name(path.name + "-wal")
    page = int.from_bytes(header[16:18], "big")
    whole = int.from_bytes(header[28:32], "big") * (65536 if page == 1 else page)
    if size < whole and not (wal.exists() and wal.stat().st_size):
        raise damaged(path, f"the file is cut off: {size} of {whole} bytes")
    with suppress(FileNotFoundError), wal.open("rb") as file:
        magic = file.read(4)
        if magic and magic not in WAL_MAGIC:
            raise damaged(path, f"{wal.name} is not a write-ahead log")


def _check_inside(connection: sqlite3.Connection, path: Path) -> None:
    if (found := _number(connection, "application_id")) != APPLICATION_ID:
        raise damaged(path, f"this is not a Sightline log (application id {found:#010x})")
    if (found := _number(connection, "user_version")) > FORMAT:
        raise damaged(path, f"the log has format {found}, newer than this version's {FORMAT}")
    deadline = time.monotonic() + CHECK_SECONDS
    connection.set_progress_handler(lambda: time.monotonic() > deadline, 100_000)
    try:
        report = [row[0] for row in connection.execute("PRAGMA quick_check(3)")]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname != "SQLITE_INTERRUPT":
            raise
        report = ["ok"]  # a large log: what the time allowed was sound
    finally:
        connection.set_progress_handler(None, 0)
    if report != ["ok"]:
        raise damaged(path, f"the log is damaged ({'; '.join(report)})")


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])
