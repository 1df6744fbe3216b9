"""Where a group stands, read so that no transaction is about to move it.

aiokafka's own request is older than `require_stable`: right after a committed transaction it may answer with the offset
before it, and the group would be read, and written, from there again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from aiokafka import TopicPartition, errors
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)
from aiokafka.structs import OffsetAndMetadata

OFFSET_FETCH = 9
STABLE_VERSION = 7
"""The first that knows `require_stable`, and the last that asks for a single group; Kafka has had it since 2.5."""

UNSTABLE_OFFSET_COMMIT = 88
LOOK_AGAIN_SECONDS = 0.02
"""A transaction that was committed takes some milliseconds until its offsets count."""

MOVING = (
    errors.GroupCoordinatorNotAvailableError,
    errors.NotCoordinatorForGroupError,
    errors.GroupLoadInProgressError,
)
COORDINATOR_SECONDS = 0.1
"""In a cluster's first second, and after a broker has gone, a group has no coordinator yet."""

_TEXT = CompactString("utf-8")
_FOUND = CompactArray(
    ("partition", Int32),
    ("offset", Int64),
    ("epoch", Int32),
    ("metadata", _TEXT),
    ("error", Int16),
    ("tags", TaggedFields),
)


class _Offsets(Response):  # type: ignore[misc]
    API_KEY = OFFSET_FETCH
    API_VERSION = STABLE_VERSION
    SCHEMA = Schema(
        ("throttle_ms", Int32),
        ("topics", CompactArray(("topic", _TEXT), ("partitions", _FOUND), ("tags", TaggedFields))),
        ("error", Int16),
        ("tags", TaggedFields),
    )


class _AskedOffsets(RequestStruct):  # type: ignore[misc]
    API_KEY = OFFSET_FETCH
    API_VERSION = STABLE_VERSION
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _Offsets
    SCHEMA = Schema(
        ("group", _TEXT),
        ("topics", CompactArray(("topic", _TEXT), ("partitions", CompactArray(Int32)), ("tags", TaggedFields))),
        ("require_stable", Boolean),
        ("tags", TaggedFields),
    )


class _Offset(Request[_AskedOffsets]):  # type: ignore[misc]
    API_KEY = OFFSET_FETCH

    def __init__(self, group: str, partitions: Mapping[str, Sequence[int]]) -> None:
        self._group, self._partitions = group, partitions

    def build(self, request_struct_class: type[_AskedOffsets]) -> _AskedOffsets:
        topics: list[tuple[str, list[int], dict[int, bytes]]] = [
            (topic, list(numbers), {}) for topic, numbers in self._partitions.items()
        ]
        return request_struct_class(self._group, topics, True, {})  # noqa: FBT003 - the protocol's order


async def committed(
    admin: AIOKafkaAdminClient, group: str, places: Sequence[TopicPartition]
) -> dict[TopicPartition, OffsetAndMetadata]:
    """What the group committed. Waits for transactions that are ending and for a coordinator. Raises KafkaError."""
    numbers: dict[str, list[int]] = {}
    for place in places:
        numbers.setdefault(place.topic, []).append(place.partition)
    while True:
        try:
            found = await _ask(admin, group, numbers)
        except MOVING:
            await asyncio.sleep(COORDINATOR_SECONDS)
            continue
        if found is not None:
            return {place: one for place, one in found.items() if one.offset >= 0}
        await asyncio.sleep(LOOK_AGAIN_SECONDS)


async def _ask(
    admin: AIOKafkaAdminClient, group: str, numbers: Mapping[str, Sequence[int]]
) -> dict[TopicPartition, OffsetAndMetadata] | None:
    """None while a transaction is ending."""
    answer = await admin._send_request(_Offset(group, numbers), await admin.find_coordinator(group))
    found, wrong = {}, {answer.error}
    for topic, partitions, _ in answer.topics:
        for partition, offset, _, metadata, error, _ in partitions:
            found[TopicPartition(topic, partition)] = OffsetAndMetadata(offset, metadata)
            wrong.add(error)
    if serious := wrong - {0, UNSTABLE_OFFSET_COMMIT}:
        raise errors.for_code(serious.pop())(f"positions of {group}")
    return None if UNSTABLE_OFFSET_COMMIT in wrong else found
