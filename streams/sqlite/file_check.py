"""Checks a log's file before it is used: what SQLite would overlook, and what the log's own tables must agree on."""

from __future__ import annotations

import sqlite3
import time
from contextlib import suppress
from pathlib import Path

from streams.sqlite.failures import FOREIGN, damaged
from streams.sqlite.schema import APPLICATION_ID, FORMAT, TABLES, records_table
from streams.sqlite.wal_check import WAL_HEADER_BYTES, is_wal_header

CHECK_SECONDS = 2.0
"""SQLite checks about a gigabyte a second: a small log is checked whole when it is opened, a large one in part. Damage
in the rest is reported when it is read."""

MAGIC = b"SQLite format 3\x00"
FRACTIONS = b"\x40\x20\x20"
"""Of a page's payload: fixed in the file's format."""
VERSIONS = (b"\x01\x01", b"\x02\x02")
"""Of reading and writing the file: without and with a write-ahead log."""
EXPECTED_TABLES = sorted(line.split()[2] for line in TABLES.splitlines() if line.startswith("CREATE TABLE"))


def is_open_here(path: Path) -> bool:
    """Whether this process has the log open: to close one more descriptor of it would end SQLite's locks on it."""
    files = {str(path.resolve()) + suffix for suffix in ("", "-wal", "-shm")}
    with suppress(OSError):
        for descriptor in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                if str(descriptor.readlink()) in files:
                    return True
    return False


def check_bytes(path: Path) -> None:
    """SQLite takes an empty file for a new database, and a damaged write-ahead log for an empty one."""
    size = path.stat().st_size
    if size == 0:
        raise damaged(path, "the file is empty")
    with path.open("rb") as file:
        header = file.read(100)
    if header[:16] != MAGIC:
        raise damaged(path, "this is not a Sightline log")
    if header[18:20] not in VERSIONS or header[21:24] != FRACTIONS:
        raise damaged(path, "the log is damaged (the file's header)")
    wal = path.with_name(path.name + "-wal")
    page = int.from_bytes(header[16:18], "big")
    expected = int.from_bytes(header[28:32], "big") * (65536 if page == 1 else page)
    if size < expected and not (wal.exists() and wal.stat().st_size):
        raise damaged(path, f"the file is cut off: {size} of {expected} bytes")
    with suppress(FileNotFoundError), wal.open("rb") as file:
        content = file.read(WAL_HEADER_BYTES)
        if content and not is_wal_header(content):
            raise damaged(path, f"{wal.name} is not a write-ahead log")


def check_format(connection: sqlite3.Connection, path: Path) -> int:
    """The log's format. Raises DamagedLog for another program's file, a newer format, or none."""
    if (application_id := _number(connection, "application_id")) != APPLICATION_ID:
        raise damaged(path, f"this is not a Sightline log (application id {application_id:#010x})", FOREIGN)
    if (version := _number(connection, "user_version")) > FORMAT:
        raise damaged(path, f"the log has format {version}, newer than this version's {FORMAT}", FOREIGN)
    if version < 1:
        raise damaged(path, f"the log has format {version}, which no version has written", FOREIGN)
    return version


def check_pages(connection: sqlite3.Connection, path: Path) -> None:
    """SQLite's own check, in bounded time."""
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


def check_tables(connection: sqlite3.Connection, path: Path) -> None:
    """Every table is there, and the offsets agree with the records. Within a transaction: others write meanwhile."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    partitions = connection.execute(
        "SELECT partitions.id, first_offset, next_offset, compacted, erased, topics.name, number FROM partitions"
        " JOIN topics ON topics.id = topic_id"
    ).fetchall()
    expected = [*EXPECTED_TABLES, *(records_table(row[0]) for row in partitions)]
    if missing := [name for name in expected if name not in tables]:
        raise damaged(path, f"a part of the log is missing (table {missing[0]})")
    for table in EXPECTED_TABLES:
        if (report := connection.execute(f"PRAGMA integrity_check({table})").fetchone()[0]) != "ok":
            raise damaged(path, f"the log is damaged ({report})")
    for partition in partitions:
        _check_offsets(connection, path, *partition)
    beyond = connection.execute(
        "SELECT topics.name, number FROM claims JOIN partitions ON partitions.id = partition_id"
        " JOIN topics ON topics.id = topic_id WHERE claims.next_offset NOT BETWEEN 0 AND partitions.next_offset"
    ).fetchone()
    if beyond:
        raise damaged(path, f"the log is damaged (a group's position in {beyond[0]}[{beyond[1]}] is beyond its end)")


def _check_offsets(
    connection: sqlite3.Connection,
    path: Path,
    partition_id: int,
    first: int,
    following: int,
    compacted: int,
    erased: int,
    topic: str,
    number: int,
) -> None:
    table = records_table(partition_id)
    lowest, highest = connection.execute(
        f"SELECT (SELECT min(record_offset) FROM {table}), (SELECT max(record_offset) FROM {table})"  # noqa: S608
    ).fetchone()
    if lowest is None:
        fits = first == following or compacted or erased
    else:
        fits = first <= lowest <= highest < following
        fits = fits and (erased or (highest == following - 1 and (compacted or lowest == first)))
    if not fits:
        raise damaged(
            path,
            f"the log is damaged ({topic}[{number}] has offsets {lowest} to {highest}, it should have {first} to"
            f" {following - 1})",
        )


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])
