"""Reads a group's committed offsets when no transaction is about to move them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from aiokafka import TopicPartition, errors
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import OffsetAndMetadata

from streams.clock import SystemClock
from streams.kafka.aiokafka_internals.offset_fetch import stable_offsets
from streams.kafka.wait_until import wait_until
from streams.retry import Backoff, retry

UNSTABLE_SECONDS = 0.02
"""Pause while a transaction is ending: after its commit it takes some milliseconds until its offsets count."""

COORDINATOR_MOVING = (
    errors.GroupCoordinatorNotAvailableError,
    errors.NotCoordinatorForGroupError,
    errors.GroupLoadInProgressError,
)
COORDINATOR_SECONDS = 0.1
"""Pause while the group has no coordinator: in a cluster's first second, and after a broker has gone."""


async def committed_offsets(
    admin: AIOKafkaAdminClient, group: str, partitions: Sequence[TopicPartition] | None = None
) -> dict[TopicPartition, OffsetAndMetadata]:
    """What the group committed, by partition, None being all; those without a commit are left out.

    Waits for transactions that are ending and for a coordinator: the caller sets a deadline. Raises KafkaError.
    """
    numbers = None if partitions is None else _numbers(partitions)
    read = partial(wait_until, partial(stable_offsets, admin, group, numbers), UNSTABLE_SECONDS)
    backoff = Backoff(SystemClock(), first_seconds=COORDINATOR_SECONDS, most_seconds=COORDINATOR_SECONDS)
    offsets = await retry(read, COORDINATOR_MOVING, backoff)
    return {partition: offset for partition, offset in offsets.items() if offset.offset >= 0}


def _numbers(partitions: Sequence[TopicPartition]) -> dict[str, list[int]]:
    """Of partitions, by topic."""
    numbers: dict[str, list[int]] = {}
    for partition in partitions:
        numbers.setdefault(partition.topic, []).append(partition.partition)
    return numbers
