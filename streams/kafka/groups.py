"""The cluster's consumer groups as an operator lists them, and their deletion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from aiokafka import TopicPartition, errors
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment

from streams.errors import GroupInUse
from streams.kafka.aiokafka_internals.group_deletion import group_deletion_error
from streams.kafka.conversion import from_aiokafka
from streams.kafka.group_offsets import committed_offsets
from streams.transport import Partition

CONSUMERS = ("consumer", "")
"""Groups that share partitions; the type is empty where all of a group's members have left."""
NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND = 68, 69


@dataclass(frozen=True, slots=True)
class ListedGroup:
    """A group's members, what they own, and where it has committed."""

    members: int
    owned: frozenset[Partition]
    committed: Mapping[Partition, int]

    @property
    def topics(self) -> set[str]:
        """Those that it reads or has read."""
        return {partition.topic for partition in self.owned | self.committed.keys()}


async def list_groups(admin: AIOKafkaAdminClient, prefix: str) -> dict[str, ListedGroup]:
    """Groups whose names begin with `prefix`, as far as the broker lets this user see them. Raises KafkaError."""
    names = [name for name, kind in await admin.list_consumer_groups() if kind in CONSUMERS and name.startswith(prefix)]
    groups = {}
    for name in sorted(names):
        with suppress(errors.GroupAuthorizationFailedError):  # who may describe the cluster is told all names
            groups[name] = await _group(admin, name)
    return groups


async def _group(admin: AIOKafkaAdminClient, name: str) -> ListedGroup:
    (response,) = await admin.describe_consumer_groups([name])
    ((code, _, _, _, _, members, *_),) = response.groups
    if code:
        raise errors.for_code(code)(f"group {name}")
    assignments = [member[4] for member in members if member[4]]
    offsets = await committed_offsets(admin, name)
    committed = {from_aiokafka(partition): entry.offset for partition, entry in offsets.items()}
    return ListedGroup(len(members), frozenset(_owned(assignments)), committed)


def _owned(assignments: Sequence[bytes]) -> list[Partition]:
    decoded = [ConsumerProtocolMemberAssignment.decode(content) for content in assignments]
    return [
        from_aiokafka(TopicPartition(topic, number))
        for assignment in decoded
        for topic, numbers in assignment.assignment
        for number in numbers
    ]


async def delete_group(admin: AIOKafkaAdminClient, name: str) -> None:
    """Delete a group with its positions; one that is not there is no error. Raises GroupInUse, KafkaError."""
    code = await group_deletion_error(admin, name)
    if code == NON_EMPTY_GROUP:
        raise GroupInUse(f"group {name} has live members: stop them first")
    if code not in (0, GROUP_ID_NOT_FOUND):
        raise errors.for_code(code)(f"group {name}")
