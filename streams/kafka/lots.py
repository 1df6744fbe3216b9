"""Records sorted by partition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from schemas.identity import partition_of
from streams.errors import PlanError
from streams.transport import NewRecord, TopicSpec

number_of = lru_cache(65_536)(partition_of)
"""The hash is pure Python; feeds' keys come again and again."""


@dataclass(frozen=True, slots=True)
class PartitionBatch:
    """Records of one partition, in order, and the largest batch that its topic takes, which to Kafka is its limit."""

    topic: str
    partition: int
    max_bytes: int
    records: list[NewRecord] = field(default_factory=list)


def lots(specs: Mapping[str, TopicSpec], records: Iterable[NewRecord]) -> list[PartitionBatch]:
    """Records by partition. Raises PlanError for a tombstone where nothing is compacted."""
    found: dict[tuple[str, int], PartitionBatch] = {}
    by_key: dict[tuple[str, bytes], PartitionBatch] = {}
    for record in records:
        if (lot := by_key.get((record.topic, record.key))) is None:
            spec = specs[record.topic]
            place = record.topic, number_of(record.key, spec.partitions)
            lot = by_key[record.topic, record.key] = found.setdefault(
                place, PartitionBatch(*place, spec.max_record_bytes)
            )
        if record.value is None and not specs[record.topic].compacted:
            raise PlanError([f"{record.topic}: a tombstone, but the topic is not compacted"])
        lot.records.append(record)
    return list(found.values())
