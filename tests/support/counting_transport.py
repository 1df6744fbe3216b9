"""An embedded log that counts what is read of it."""

from __future__ import annotations

from collections.abc import Sequence

from streams.sqlite.transport import SqliteTransport
from streams.transport import Partition, Record


class CountingTransport(SqliteTransport):
    """Counts the records that are read without a group."""

    records_read = 0

    async def read(self, partition: Partition, offset: int, max_records: int) -> Sequence[Record]:
        page = await super().read(partition, offset, max_records)
        self.records_read += len(page)
        return page
