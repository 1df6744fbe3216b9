"""Changes how a started consumer fetches; aiokafka has no setting for any of it.

Its fetcher makes two Python objects of each record as it arrives. `raw_records` gives classes that leave batches whole:
the fetcher's own method then runs with them in place of aiokafka's classes of the same names. Aborted transactions,
control batches and checksums stay aiokafka's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from types import FunctionType, MethodType
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer import fetcher as fetcher_module
from aiokafka.consumer.fetcher import Fetcher, PartitionRecords
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError

from streams.kafka.aiokafka_internals.client import limit_metadata_requests
from streams.kafka.compiled.wire import wire

BATCH_TYPE = None if wire is None else wire.Batch
"""The compiled code's batch, which stands for all its records."""

UNCOUNTED_ERRORS = (NoOffsetForPartitionError, OffsetOutOfRangeError)
"""aiokafka does not count a fetch that raises one of these as ended, and its poll watchdog then never fires again."""


class RawPartitionRecords(PartitionRecords):  # type: ignore[misc]
    """Gives records as they are in the batch (offset, timestamp, key, value, headers), or whole compiled batches."""

    def __iter__(self) -> Iterator[Any]:
        """The generator itself: one call less per record."""
        return self._records_iterator  # type: ignore[no-any-return]

    def _consumer_record(self, partition: TopicPartition, record: Any) -> Any:
        return record.begin(self.next_fetch_offset) if type(record) is BATCH_TYPE else record


def raw_records(*, compiled: bool) -> Mapping[str, type]:
    """Classes for `patch_consumer`, by the name of the aiokafka class that each replaces."""
    classes: dict[str, type] = {"PartitionRecords": RawPartitionRecords}
    if compiled and wire is not None:
        classes["MemoryRecords"] = wire.Batches
    return classes


def patch_consumer(consumer: AIOKafkaConsumer, classes: Mapping[str, type] | None = None) -> None:
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
