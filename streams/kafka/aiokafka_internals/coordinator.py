"""A group member's generation, heartbeat and commits: aiokafka keeps them in the consumer's coordinator."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from streams.errors import Fenced


def coordinator(consumer: AIOKafkaConsumer) -> Any:
    """The `GroupCoordinator` of a consumer that has subscribed."""
    return consumer._coordinator


def generation(consumer: AIOKafkaConsumer) -> int:
    """The group's generation as the member knows it; negative after it has left or was expelled."""
    return int(coordinator(consumer).generation)


async def heartbeat(consumer: AIOKafkaConsumer) -> bool:
    """Send a heartbeat now; whether the coordinator accepted it. Raises KafkaError.

    A member that learns that it was expelled has no generation afterwards.
    """
    accepted: bool = await coordinator(consumer)._do_heartbeat()
    return accepted


def request_rejoin(consumer: AIOKafkaConsumer) -> None:
    """Have the member join the group again, with a new generation and assignment."""
    coordinator(consumer).request_rejoin()


async def commit_once(
    consumer: AIOKafkaConsumer, offsets: Mapping[TopicPartition, OffsetAndMetadata], assigned_in: int
) -> None:
    """One attempt to commit, in the generation `assigned_in` and no other. Raises Fenced, KafkaError.

    aiokafka's own commit takes the generation of the moment, at every attempt: none, after the member was expelled. A
    broker accepts a commit without a generation from any client once the group is empty, and positions go back.
    """
    group = coordinator(consumer)
    async with group._commit_lock:
        if generation(consumer) != assigned_in:
            raise Fenced("the group has gone on without this member: its positions were not committed")
        await asyncio.shield(group._do_commit_offsets(None, offsets))


async def find_coordinator(consumer: AIOKafkaConsumer) -> None:
    """Return once the group's coordinator is known. Raises KafkaError."""
    await coordinator(consumer).ensure_coordinator_known()
