"""Fetched batches as runs of records, which are made when they are handed out.

aiokafka makes two Python objects of each record as it arrives. Here a batch stays as it came, checked once, and
compiled code makes its records (`compiled/`). Without it, and for compressed batches, aiokafka's C code reads them,
without the second object.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from streams.kafka.aiokafka_internals.fetcher import BATCH_TYPE
from streams.kafka.fair_buffer import Run
from streams.transport import Partition, Record


class PlainRun:
    """Records as aiokafka reads them. See `streams.kafka.fair_buffer.Run`."""

    def __init__(self, partition: Partition, epoch: int, records: Iterable[Any]) -> None:
        self._partition, self._epoch, self._records = partition, epoch, deque(records)

    def __len__(self) -> int:
        return len(self._records)

    def take(self, count: int) -> list[Record]:
        next_record = self._records.popleft
        records = [next_record() for _ in range(min(count, len(self._records)))]
        return records_from(self._partition, self._epoch, records)


def records_from(partition: Partition, epoch: int, fetched: Iterable[Any]) -> list[Record]:
    """Other producers may send no key."""
    return [
        Record(
            partition,
            record.offset,
            epoch,
            record.key or b"",
            record.value,
            dict(record.headers),
            record.timestamp / 1000,
        )
        for record in fetched
    ]


def runs(partition: Partition, epoch: int, fetched: Sequence[Any]) -> list[Run[Record]]:
    """Runs of what a consumer with `raw_records` fetched: whole batches, and single records between them."""
    result: list[Run[Record]] = []
    for kind, records in groupby(fetched, type):
        if kind is BATCH_TYPE:
            result.extend(batch.bind(partition, epoch) for batch in records)
        else:
            result.append(PlainRun(partition, epoch, records))
    return result
