"""The OffsetFetch request with `require_stable`, which aiokafka does not have.

Its own request is older: right after a committed transaction it may answer with the offset before the transaction, and
the group's records would be read, and their outputs written, from there again. Source: Kafka's protocol guide,
OffsetFetch version 7.
"""

from __future__ import annotations

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
"""The first with `require_stable`, and the last that takes a single group; Kafka has had it since 2.5."""

UNSTABLE_OFFSET_COMMIT = 88

_TEXT = CompactString("utf-8")
_COMMITTED = CompactArray(
    ("partition", Int32),
    ("offset", Int64),
    ("epoch", Int32),
    ("metadata", _TEXT),
    ("error", Int16),
    ("tags", TaggedFields),
)


class StableOffsetsResponse(Response):  # type: ignore[misc]
    API_KEY = OFFSET_FETCH
    API_VERSION = STABLE_VERSION
    SCHEMA = Schema(
        ("throttle_ms", Int32),
        ("topics", CompactArray(("topic", _TEXT), ("partitions", _COMMITTED), ("tags", TaggedFields))),
        ("error", Int16),
        ("tags", TaggedFields),
    )


class StableOffsetsStruct(RequestStruct):  # type: ignore[misc]
    API_KEY = OFFSET_FETCH
    API_VERSION = STABLE_VERSION
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = StableOffsetsResponse
    SCHEMA = Schema(
        ("group", _TEXT),
        ("topics", CompactArray(("topic", _TEXT), ("partitions", CompactArray(Int32)), ("tags", TaggedFields))),
        ("require_stable", Boolean),
        ("tags", TaggedFields),
    )


class StableOffsetsRequest(Request[StableOffsetsStruct]):  # type: ignore[misc]
    API_KEY = OFFSET_FETCH

    def __init__(self, group: str, partitions: Mapping[str, Sequence[int]] | None) -> None:
        self._group, self._partitions = group, partitions

    def build(self, request_struct_class: type[StableOffsetsStruct]) -> StableOffsetsStruct:
        topics: list[tuple[str, list[int], dict[int, bytes]]] | None = None
        if self._partitions is not None:
            topics = [(topic, list(numbers), {}) for topic, numbers in self._partitions.items()]
        return request_struct_class(self._group, topics, True, {})  # noqa: FBT003 - the protocol's order


async def stable_offsets(
    admin: AIOKafkaAdminClient, group: str, partitions: Mapping[str, Sequence[int]] | None
) -> dict[TopicPartition, OffsetAndMetadata] | None:
    """The group's offsets in `partitions` (numbers by topic; None: all it has), -1 where it never committed.

    Raises KafkaError.

    None while a transaction that moves them is ending.
    """
    node = await admin.find_coordinator(group)
    response = await admin._send_request(StableOffsetsRequest(group, partitions), node)
    offsets, codes = {}, {response.error}
    for topic, rows, _ in response.topics:
        for partition, offset, _, metadata, error, _ in rows:
            offsets[TopicPartition(topic, partition)] = OffsetAndMetadata(offset, metadata)
            codes.add(error)
    if failed := codes - {0, UNSTABLE_OFFSET_COMMIT}:
        raise errors.for_code(failed.pop())(f"positions of group {group}")
    return None if UNSTABLE_OFFSET_COMMIT in codes else offsets
