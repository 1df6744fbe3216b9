"""Partitions and positions as aiokafka's types, and back."""

from __future__ import annotations

from collections.abc import Mapping

from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from streams.transport import Partition, Position

ATTEMPTS = "attempts="
"""How a position's attempts are written in the commit's metadata."""


def from_aiokafka(partition: TopicPartition) -> Partition:
    return Partition(partition.topic, partition.partition)


def to_aiokafka(partition: Partition) -> TopicPartition:
    return TopicPartition(partition.topic, partition.index)


def position_from(committed: OffsetAndMetadata) -> Position:
    """A commit by another client has no attempts in its metadata: 0."""
    attempts = committed.metadata.removeprefix(ATTEMPTS)
    return Position(committed.offset, int(attempts) if attempts.isdigit() else 0)


def offsets_from(positions: Mapping[Partition, Position]) -> dict[TopicPartition, OffsetAndMetadata]:
    return {
        to_aiokafka(partition): OffsetAndMetadata(position.next_offset, f"{ATTEMPTS}{position.attempts}")
        for partition, position in positions.items()
    }
