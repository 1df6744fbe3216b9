"""Checks a log's file before it is used: what SQLite would overlook, and what the log's own tables must agree on."""

from __future__ import annotations

import sqlite3
import struct
import time
from contextlib import suppress
from pathlib import Path

from streams.sqlite.failures import damaged
from streams.sqlite.schema import APPLICATION_ID, FORMAT, TABLES, records_table

CHECK_SECONDS = 2.0
"""SQLite checks about a gigabyte a second: a small log is checked whole when it is opened, a large one in part. Damage
in the rest is reported when it is read."""

WAL_MAGIC = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
WAL_HEADER_BYTES, FRAME_HEADER_BYTES = 32, 24
VERSIONS = (b"\x01\x01", b"\x02\x02")
"""Of reading and writing the file: without and with a write-ahead log."""
SALTS = slice(16, 24)
"""In the header of the write-ahead log: every frame repeats them, so frames of an earlier log do not count."""
SHM_HEADER_BYTES, SHM_FRAMES, SHM_SALTS = 48, slice(16, 20), slice(32, 40)
"""In the index of the write-ahead log: its frames that were synchronized and committed, and its salts."""

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
    if header[:16] != b"SQLite format 3\x00":
        raise damaged(path, "this is not a Sightline log")
    if header[18:20] not in VERSIONS or header[21:24] != b"\x40\x20\x20":
        raise damaged(path, "the log is damaged (the file's header)")
    wal = path.with_name(path.name + "-wal")
    page = int.from_bytes(header[16:18], "big")
    expected = int.from_bytes(header[28:32], "big") * (65536 if page == 1 else page)
    if size < expected and not (wal.exists() and wal.stat().st_size):
        raise damaged(path, f"the file is cut off: {size} of {expected} bytes")
    with suppress(FileNotFoundError), wal.open("rb") as file:
        header = file.read(WAL_HEADER_BYTES)
        if header and not _is_wal_header(header):
            raise damaged(path, f"{wal.name} is not a write-ahead log")


def _is_wal_header(header: bytes) -> bool:
    """Its magic number and its checksum, as SQLite's file format has them; it is written and synchronized first."""
    if len(header) < WAL_HEADER_BYTES or header[:4] not in WAL_MAGIC:
        return False
    order = ">" if header[3] & 1 else "<"
    words = struct.unpack(f"{order}6I", header[:24])
    first = second = 0
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return header[24:] == struct.pack(">2I", first, second)


class WalCheck:
    """Whether commits in the write-ahead log are lost: SQLite ends it silently at the first frame that is not whole.

    Made before SQLite opens the file, while the index still says how many frames were committed; `verify` compares
    that with what SQLite accepted, and looks for commits behind it. A power cut tears the last commit only, which was
    not acknowledged.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._wal = path, path.with_name(path.name + "-wal")
        self._shm = path.with_name(path.name + "-shm")
        self._salts = self._wal_salts()
        self._committed = self._indexed_frames()

    @property
    def has_frames(self) -> bool:
        return bool(self._salts)

    def verify(self) -> None:
        """Call it once a connection has read the log, and is closed. Raises DamagedLog."""
        if not self._salts or self._wal_salts() != self._salts:
            return  # nothing was in it, or another process has begun it again
        accepted = self._indexed_frames()
        if accepted is None:
            return
        if self._committed is not None and accepted < self._committed:
            raise self._lost(self._committed - accepted)
        if self._commits_behind(accepted) > 1 and self._indexed_frames() == accepted:  # else another process writes
            raise self._lost(None)

    def _lost(self, pages: int | None) -> Exception:
        what = "pages" if pages is None else f"{pages} pages"
        return damaged(self._path, f"{self._wal.name} is cut off or damaged: {what} that were written are not whole")

    def _wal_salts(self) -> bytes:
        with suppress(OSError), self._wal.open("rb") as file:
            return file.read(WAL_HEADER_BYTES)[SALTS]
        return b""

    def _indexed_frames(self) -> int | None:
        """Committed frames, as the index of this write-ahead log has them; None: it is that of another, or none."""
        with suppress(OSError), self._shm.open("rb") as file:
            header = file.read(SHM_HEADER_BYTES)
            copy = file.read(SHM_HEADER_BYTES)
            if len(copy) == SHM_HEADER_BYTES and header == copy and header[SHM_SALTS] == self._salts:
                return int(struct.unpack("=I", header[SHM_FRAMES])[0])
        return None

    def _commits_behind(self, frames: int) -> int:
        """Commits with this log's salts behind the first `frames`."""
        with suppress(OSError), self._wal.open("rb") as file:
            page = int.from_bytes(file.read(WAL_HEADER_BYTES)[8:12], "big")
            file.seek(WAL_HEADER_BYTES + frames * (FRAME_HEADER_BYTES + page))
            commits = 0
            while len(header := file.read(FRAME_HEADER_BYTES)) == FRAME_HEADER_BYTES and commits < 2:
                commits += header[8:16] == self._salts and header[4:8] != bytes(4)
                file.seek(page, 1)
            return commits
        return 0


def check_format(connection: sqlite3.Connection, path: Path) -> int:
    """The log's format. Raises DamagedLog for another program's file, a newer format, or none."""
    if (application_id := _number(connection, "application_id")) != APPLICATION_ID:
        raise damaged(path, f"this is not a Sightline log (application id {application_id:#010x})")
    if (version := _number(connection, "user_version")) > FORMAT:
        raise damaged(path, f"the log has format {version}, newer than this version's {FORMAT}")
    if version < 1:
        raise damaged(path, f"the log has format {version}, which no version has written")
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
    for partition_id, first, following, compacted, erased, topic, number in partitions:
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
    beyond = connection.execute(
        "SELECT topics.name, number FROM claims JOIN partitions ON partitions.id = partition_id"
        " JOIN topics ON topics.id = topic_id WHERE claims.next_offset NOT BETWEEN 0 AND partitions.next_offset"
    ).fetchone()
    if beyond:
        raise damaged(path, f"the log is damaged (a group's position in {beyond[0]}[{beyond[1]}] is beyond its end)")


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])
