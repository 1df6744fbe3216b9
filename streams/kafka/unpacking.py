"""Records as aiokafka's C code reads them, without the Python object that it makes of each: a third of a fetch's time.

There is no setting for this. What a fetch brings is taken in hand when the fetcher has put it down, before anybody
can have read any of it; transactions that were aborted, markers and checksums stay aiokafka's business.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import FetchResult, PartitionRecords


class _Unpacked(PartitionRecords):  # type: ignore[misc]
    def __iter__(self) -> Iterator[Any]:
        """The generator itself, not one more call around it."""
        return self._records_iterator  # type: ignore[no-any-return]

    def _consumer_record(self, place: TopicPartition, record: Any) -> Any:
        """It has the offset, timestamp, key, value and headers of a `ConsumerRecord`."""
        return record


def unpack(consumer: AIOKafkaConsumer) -> None:
    """Have a started consumer give such records. Another one has aiokafka's own."""
    fetcher = consumer._fetcher
    fetch = fetcher._proc_fetch_request

    async def fetch_unpacked(*arguments: Any) -> bool:
        arrived: bool = await fetch(*arguments)
        for result in fetcher._records.values():
            if type(result) is FetchResult and result.has_more():
                result._partition_records.__class__ = _Unpacked
        return arrived

    fetcher._proc_fetch_request = fetch_unpacked
