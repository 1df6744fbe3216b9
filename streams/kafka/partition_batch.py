"""Sorts records into one batch per partition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from schemas.identity import partition_of
from streams.errors import PlanError
from streams.transport import NewRecord, TopicSpec

partition_index = lru_cache(65_536)(partition_of)
"""The hash is pure Python; feeds' keys come again and again."""


@dataclass(frozen=True, slots=True)
class PartitionBatch:
    """Records of one partition, in order, and the largest batch that its topic takes, which to Kafka is its limit."""

    topic: str
    partition: int
    max_bytes: int
    records: list[NewRecord] = field(default_factory=list)


def by_partition(specs: Mapping[str, TopicSpec], records: Iterable[NewRecord]) -> list[PartitionBatch]:
    """Raises PlanError for a tombstone on a topic that is not compacted."""
    batches: dict[tuple[str, int], PartitionBatch] = {}
    by_key: dict[tuple[str, bytes], PartitionBatch] = {}
    for record in records:
        if (batch := by_key.get((record.topic, record.key))) is None:
            spec = specs[record.topic]
            partition = record.topic, partition_index(record.key, spec.partitions)
            batch = by_key[record.topic, record.key] = batches.setdefault(
                partition, PartitionBatch(*partition, spec.max_record_bytes)
            )
        if record.value is None and not specs[record.topic].compacted:
            raise PlanError([f"topic {record.topic}: it is not compacted and takes no record without a value"])
        batch.records.append(record)
    return list(batches.values())
