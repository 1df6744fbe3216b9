"""Saves the records of a damaged log that can be read: around broken pages, each proved by its checksum."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections import deque
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from streams.sqlite.backup import side_files
from streams.sqlite.catalog import COLUMNS
from streams.sqlite.failures import DamagedRecord, damaged
from streams.sqlite.file_check import FRACTIONS, MAGIC, VERSIONS, check_format, check_pages, check_tables
from streams.sqlite.log_file import lay_out, synchronize_folder
from streams.sqlite.record_rows import Row, to_records
from streams.sqlite.schema import create_records, migrate, records_table
from streams.transport import Partition

MAX_QUERIES = 200_000
"""Per partition: where a large part of a table is broken, the search for what is whole in it ends after seconds."""
RECORD_COLUMNS = "record_offset, timestamp, key, value, headers, checksum"
GROUP_COLUMNS = "id, name, version, seen"
CLAIM_COLUMNS = "group_id, partition_id, epoch, next_offset, attempts"
DRAFT = ".salvage"


@dataclass(frozen=True, slots=True)
class SavedTopic:
    """`lost` is the largest possible number where `is_exact` is false: no count tells erased and compacted records."""

    name: str
    saved: int
    lost: int
    is_exact: bool


@dataclass(frozen=True, slots=True)
class _Span:
    """A partition of the damaged log; its offsets may be damaged as well."""

    partition_id: int
    topic: str
    number: int
    first: int
    following: int
    erased: int
    compacted: int


def salvage(source: Path, target: Path) -> list[SavedTopic]:
    """Write a log with all readable records of `source` to `target`: offsets, positions of groups and limits stay.

    `source` and its write-ahead log are copied first, and only the copy is opened. Raises DamagedLog where the topics
    cannot be read, or for another program's file, OSError for a full disk. Blocks: call it in a thread.
    """
    folder = target.with_name(target.name + DRAFT)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        copy, draft = _copied(source, folder / "damaged.sqlite"), folder / "saved.sqlite"
        try:
            saved = _transfer(copy, draft, source)
        except sqlite3.Error as error:
            raise damaged(source, f"the log is damaged, and its topics cannot be read ({error})") from error
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(target)
        synchronize_folder(target.parent)
        return saved
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copied(source: Path, copy: Path) -> Path:
    """With the header as every log has it: SQLite opens no file without."""
    shutil.copyfile(source, copy)
    with suppress(FileNotFoundError):
        shutil.copyfile(side_files(source)[0], side_files(copy)[0])
    with copy.open("r+b") as file:
        header = file.read(100)
        if len(header) == 100:  # another program's file is told by its application id, which stays
            file.seek(0)
            file.write(MAGIC + header[16:18] + VERSIONS[-1] + header[20:21] + FRACTIONS)
    return copy


def _transfer(copy: Path, draft: Path, source: Path) -> list[SavedTopic]:
    with (
        closing(sqlite3.connect(copy, isolation_level=None)) as reading,
        closing(sqlite3.connect(draft, isolation_level=None)) as writing,
    ):
        reading.execute("PRAGMA writable_schema = ON")  # a file that is cut off, or a damaged schema, is read
        if check_format(reading, source) == 1:
            migrate(reading)
        lay_out(writing)
        writing.execute("PRAGMA journal_mode = OFF")  # a draft that is not ended is removed
        writing.execute("PRAGMA synchronous = OFF")
        writing.execute("BEGIN")
        rows = reading.execute(f"SELECT id, {COLUMNS} FROM topics NOT INDEXED").fetchall()  # noqa: S608 - our own columns
        writing.executemany(f"INSERT INTO topics (id, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)  # noqa: S608
        saved = [_save(reading, writing, span) for span in _spans(reading)]
        _copy_groups(reading, writing)
        writing.execute("COMMIT")
        writing.execute("PRAGMA journal_mode = WAL")
        check_pages(writing, source)
        check_tables(writing, source)
    return _by_topic(saved)


def _spans(reading: sqlite3.Connection) -> list[_Span]:
    """Read without indexes, which may be damaged."""
    rows = reading.execute(
        "SELECT partitions.id, topics.name, number, first_offset, next_offset, erased, compacted"
        " FROM partitions NOT INDEXED JOIN topics NOT INDEXED ON topics.id = topic_id"
    )
    return sorted((_Span(*row) for row in rows.fetchall()), key=lambda span: (span.topic, span.number))


def _save(reading: sqlite3.Connection, writing: sqlite3.Connection, span: _Span) -> SavedTopic:
    """Copy the whole records of one partition. What is not there is marked as erased: readers go on behind it."""
    table = records_table(span.partition_id)
    create_records(writing, span.partition_id, compacted=bool(span.compacted))
    saved = size_bytes = 0
    lowest, highest = None, -1
    rows = _Rows(reading, span)
    for row in rows.whole():
        cursor = writing.execute(f"INSERT OR IGNORE INTO {table} VALUES (?, ?, ?, ?, ?, ?)", row)  # noqa: S608
        if cursor.rowcount == 1:
            saved, size_bytes = saved + 1, size_bytes + len(row[2]) + len(row[3] or b"") + len(row[4])
            lowest, highest = min(row[0], row[0] if lowest is None else lowest), max(row[0], highest)
    following = max(span.following, highest + 1)
    first = min(max(0, span.first), following if lowest is None else lowest)
    missing = following - first - saved
    writing.execute(
        "INSERT INTO partitions (id, topic_id, number, first_offset, next_offset, bytes, erased)"
        " SELECT ?, id, ?, ?, ?, ?, ? FROM topics WHERE name = ?",
        (span.partition_id, span.number, first, following, size_bytes, missing, span.topic),
    )
    is_exact = not span.compacted and not span.erased
    return SavedTopic(span.topic, saved, missing if is_exact else min(missing, rows.lost), is_exact=is_exact)


class _Rows:
    """The rows of a partition; `lost` counts offsets that could not be read, or hold a damaged record."""

    def __init__(self, reading: sqlite3.Connection, span: _Span) -> None:
        self.lost = 0
        self._reading, self._span = reading, span

    def whole(self) -> Iterator[Row]:
        partition = Partition(self._span.topic, self._span.number)
        for row in self._readable():
            if _is_whole(row, partition):
                yield row
            else:
                self.lost += 1

    def _readable(self) -> Iterator[Row]:
        """Whatever SQLite reads. A range of offsets that it cannot read is halved, larger ranges first."""
        ranges, queries = deque([(min(0, self._span.first), self._end())]), 0
        while ranges and queries < MAX_QUERIES:
            low, high = ranges.popleft()
            queries += 1
            try:
                for row in self._select(low, high):
                    low = row[0] + 1
                    yield row
            except sqlite3.DatabaseError:
                middle = (low + high) // 2
                if low < middle:
                    ranges += [(low, middle), (middle, high)]
                else:
                    self.lost += high - low
        self.lost += sum(high - low for low, high in ranges)

    def _select(self, low: int, high: int) -> Iterator[Row]:
        rows = self._reading.execute(
            f"SELECT {RECORD_COLUMNS} FROM {records_table(self._span.partition_id)}"  # noqa: S608 - our own tables
            " WHERE record_offset >= ? AND record_offset < ? ORDER BY record_offset",
            (low, high),
        )
        for row in rows:
            if not low <= row[0] < high:
                raise sqlite3.DatabaseError(f"offset {row[0]} is out of order")
            low = row[0] + 1
            yield row

    def _end(self) -> int:
        """Behind the last record, by the records themselves if they can be read."""
        with suppress(sqlite3.DatabaseError):
            table = records_table(self._span.partition_id)
            (highest,) = self._reading.execute(f"SELECT max(record_offset) FROM {table}").fetchone()  # noqa: S608
            return 0 if highest is None else int(highest) + 1
        return self._span.following


def _is_whole(row: Row, partition: Partition) -> bool:
    try:
        to_records([row], partition, -1)
    except (DamagedRecord, TypeError):
        return False
    return isinstance(row[1], float)


def _copy_groups(reading: sqlite3.Connection, writing: sqlite3.Connection) -> None:
    """Their positions. A group whose position is lost, or is beyond the end, starts at the first record again."""
    with suppress(sqlite3.DatabaseError):
        for table, columns in (("groups", GROUP_COLUMNS), ("claims", CLAIM_COLUMNS)):
            rows = reading.execute(f"SELECT {columns} FROM {table}").fetchall()  # noqa: S608 - our own tables
            places = ", ".join("?" * len(columns.split(",")))
            writing.executemany(f"INSERT OR IGNORE INTO {table} ({columns}) VALUES ({places})", rows)  # noqa: S608
    writing.execute("DELETE FROM claims WHERE group_id NOT IN (SELECT id FROM groups)")
    writing.execute("DELETE FROM claims WHERE partition_id NOT IN (SELECT id FROM partitions)")
    writing.execute(
        "UPDATE claims SET next_offset = NULL WHERE next_offset NOT BETWEEN 0 AND"
        " (SELECT next_offset FROM partitions WHERE id = partition_id)"
    )


def _by_topic(partitions: list[SavedTopic]) -> list[SavedTopic]:
    topics: dict[str, SavedTopic] = {}
    for each in partitions:
        sum_ = topics.get(each.name, SavedTopic(each.name, 0, 0, is_exact=True))
        topics[each.name] = SavedTopic(
            each.name, sum_.saved + each.saved, sum_.lost + each.lost, is_exact=sum_.is_exact and each.is_exact
        )
    return list(topics.values())
