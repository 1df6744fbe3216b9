"""What a fetch brings, as runs of records that are made when they are handed out.

aiokafka makes two Python objects of each record as it arrives. Here batches stay as they came, looked at once, and
compiled code makes records of them (`_wire.pyx`); without it, and for compressed batches, aiokafka's C code reads them,
without the second object. There is no setting for this: its fetcher's own method runs with classes of ours. Aborted
transactions, markers and checksums stay its business.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from types import FunctionType, MethodType
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer import fetcher as fetchers
from aiokafka.consumer.fetcher import Fetcher, PartitionRecords

from streams.kafka.buffer import Run
from streams.kafka.compiled import wire
from streams.transport import Partition, Record

BATCH = None if wire is None else wire.Batch
"""What compiled code leaves whole."""


class PlainRun:
    """Records as aiokafka reads them. See `streams.kafka.buffer.Run`."""

    def __init__(self, partition: Partition, epoch: int, records: Iterable[Any]) -> None:
        self._partition, self._epoch, self._records = partition, epoch, deque(records)

    def __len__(self) -> int:
        return len(self._records)

    def take(self, count: int) -> list[Record]:
        following = self._records.popleft
        some = [following() for _ in range(min(count, len(self._records)))]
        return records_from(self._partition, self._epoch, some)


def records_from(partition: Partition, epoch: int, run: Iterable[Any]) -> list[Record]:
    """Other producers may send no key."""
    return [
        Record(partition, one.offset, epoch, one.key or b"", one.value, dict(one.headers), one.timestamp / 1000)
        for one in run
    ]


def runs(partition: Partition, epoch: int, fetched: Sequence[Any]) -> list[Run[Record]]:
    """Of what a consumer that was `unpack`ed fetched: whole batches, and records between them."""
    found: list[Run[Record]] = []
    for kind, some in groupby(fetched, type):
        if kind is BATCH:
            found.extend(one.bind(partition, epoch) for one in some)
        else:
            found.append(PlainRun(partition, epoch, some))
    return found


def unpack(consumer: AIOKafkaConsumer, *, compiled: bool) -> None:
    """Have a started consumer give what `runs` takes. Another one has aiokafka's own records."""
    names = {**vars(fetchers), "PartitionRecords": _Unpacked}
    if compiled and wire is not None:
        names["MemoryRecords"] = wire.Batches
    fetcher = consumer._fetcher
    fetcher._proc_fetch_request = MethodType(FunctionType(Fetcher._proc_fetch_request.__code__, names), fetcher)


class _Unpacked(PartitionRecords):  # type: ignore[misc]
    def __iter__(self) -> Iterator[Any]:
        """The generator itself, not one more call around it."""
        return self._records_iterator  # type: ignore[no-any-return]

    def _consumer_record(self, place: TopicPartition, record: Any) -> Any:
        """A record has the offset, timestamp, key, value and headers of a `ConsumerRecord`."""
        return record.begin(self.next_fetch_offset) if type(record) is BATCH else record
