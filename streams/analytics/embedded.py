"""Analytics without Faust: the same ledger over the embedded log, with its table in one SQLite file.

Counts are durable before the position is committed; a record that is delivered again is recognized by its id.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from functools import partial
from pathlib import Path

from schemas.topics import OBSERVED
from streams.analytics.count_record import count_record
from streams.analytics.ledger import Ledger
from streams.analytics.measured import Measured
from streams.errors import Unavailable
from streams.metrics import AnalyticsMetrics
from streams.transport import Consumer, Partition, Position, Transport

POLL_RECORDS = 1000
POLL_SECONDS = 0.5


class FileTable(MutableMapping[bytes, bytes]):
    """A mapping in memory. `flush` makes all changes durable in one transaction. Open until `close`."""

    def __init__(self, path: Path) -> None:
        self._file = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._file.execute("PRAGMA journal_mode = WAL")
        self._file.execute("PRAGMA synchronous = FULL")
        self._file.execute("CREATE TABLE IF NOT EXISTS analytics (key BLOB PRIMARY KEY, value BLOB NOT NULL)")
        self._values: dict[bytes, bytes] = dict(self._file.execute("SELECT key, value FROM analytics"))
        self._changed: set[bytes] = set()

    def __getitem__(self, key: bytes) -> bytes:
        return self._values[key]

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self._values[key] = value
        self._changed.add(key)

    def __delitem__(self, key: bytes) -> None:
        del self._values[key]
        self._changed.add(key)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def flush(self) -> None:
        changed = [(key, self._values.get(key)) for key in self._changed]
        self._file.execute("BEGIN IMMEDIATE")
        self._file.executemany("DELETE FROM analytics WHERE key = ?", [(key,) for key, _ in changed])
        present = [(key, value) for key, value in changed if value is not None]
        self._file.executemany("INSERT INTO analytics VALUES (?, ?)", present)
        self._file.execute("COMMIT")
        self._changed.clear()

    def close(self) -> None:
        self._file.close()


class NothingToHandOver:
    """The listener of a consumer that commits everything between two polls."""

    async def assigned(self, partitions: Mapping[Partition, int]) -> None: ...

    async def revoked(self, partitions: Sequence[Partition]) -> None: ...


async def count(transport: Transport, ledger: Ledger, table: FileTable, measured: Measured) -> None:
    """Count until it is cancelled, between two steps. Waits for a log that is away. Raises NewerMajor."""
    retry = measured.retry
    join = partial(transport.consumer, ledger.settings.group, [OBSERVED], NothingToHandOver())
    consumer = await retry.connect("broker", join, Unavailable)
    measured.health.warmed()
    try:
        while True:
            step = partial(_step, consumer, ledger, table, measured.metrics)
            await retry.forever("broker", step, Unavailable)
    finally:
        await consumer.close()


async def _step(consumer: Consumer, ledger: Ledger, table: FileTable, metrics: AnalyticsMetrics) -> None:
    records = await consumer.poll(POLL_RECORDS, POLL_SECONDS)
    for record in records:
        metrics.count(counted=count_record(ledger, record.value, record.headers))
    if records:
        await _flushed(table)
        positions = {record.partition: Position(record.offset + 1) for record in records}
        await consumer.commit(positions, {record.partition: record.epoch for record in records})


async def _flushed(table: FileTable) -> None:
    """A flush that has begun is finished, also when the counting is cancelled: its file is closed next."""
    flushing = asyncio.ensure_future(asyncio.to_thread(table.flush))
    try:
        await asyncio.shield(flushing)
    finally:
        await flushing
