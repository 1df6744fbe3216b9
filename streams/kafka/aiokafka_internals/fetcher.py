"""Changes how a started consumer fetches; aiokafka has no setting for any of it.

Its fetcher makes two Python objects of each record as it arrives. `raw_records` gives classes that leave batches whole:
the fetcher's own method then runs with them in place of what aiokafka has under the same names. Aborted transactions,
control batches and checksums stay aiokafka's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from functools import partial
from types import FunctionType, MethodType
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer import fetcher as fetcher_module
from aiokafka.consumer.fetcher import Fetcher, PartitionRecords
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError

from streams.kafka.aiokafka_internals.client import limit_metadata_requests
from streams.kafka.record_batches import WHOLE_BATCHES, Batches, ReadBatches

UNCOUNTED_ERRORS = (NoOffsetForPartitionError, OffsetOutOfRangeError)
"""aiokafka does not count a fetch that raises one of these as ended, and its poll watchdog then never fires again."""


class RawPartitionRecords(PartitionRecords):  # type: ignore[misc]
    """Gives whole batches, and the records of older formats as they are (offset, timestamp, key, value, headers)."""

    def __iter__(self) -> Iterator[Any]:
        """The generator itself: one call less per record."""
        return self._records_iterator  # type: ignore[no-any-return]

    def _consumer_record(self, partition: TopicPartition, record: Any) -> Any:
        return record.begin(self.next_fetch_offset) if type(record) in WHOLE_BATCHES else record


def raw_records(*, compiled: bool) -> Mapping[str, Any]:
    """What `patch_consumer` puts in the place of aiokafka's classes, by their names."""
    return {"PartitionRecords": RawPartitionRecords, "MemoryRecords": partial(Batches, compiled=compiled)}


def readable_records() -> Mapping[str, Any]:
    """As `raw_records`, for a consumer whose records are aiokafka's own: no batch of another producer stops it."""
    return {"MemoryRecords": ReadBatches}


def patch_consumer(consumer: AIOKafkaConsumer, classes: Mapping[str, Any] | None = None) -> None:
    """Patch a started consumer: metadata requests are limited, cancelled fetches end quietly, fetches use `classes`.

    Without the second, stopping a consumer while a fetch waits for its next attempt raises the consumer's own
    cancellation and leaves it half stopped.
    """
    limit_metadata_requests(consumer._client)
    fetcher = consumer._fetcher
    fetch = fetcher._proc_fetch_request
    if classes:
        names = {**vars(fetcher_module), **classes}
        fetch = MethodType(FunctionType(Fetcher._proc_fetch_request.__code__, names), fetcher)

    async def fetch_unless_cancelled(*arguments: Any) -> bool:
        try:
            arrived: bool = await fetch(*arguments)
        except asyncio.CancelledError:
            return False
        return arrived

    fetcher._proc_fetch_request = fetch_unless_cancelled


def count_ended_fetch(consumer: AIOKafkaConsumer, error: BaseException | None) -> None:
    """Call it once per fetch that has ended with `error`: counts it where aiokafka does not."""
    if isinstance(error, UNCOUNTED_ERRORS):
        consumer._subscription._fetch_count -= 1
