"""Topics of a cluster as `TopicSpec`s: created, read back and compared."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TypeAlias

from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from schemas.topics import BATCH_OVERHEAD_BYTES
from streams.errors import Forbidden, PlanError, Unavailable
from streams.kafka.aiokafka_internals.topic_metadata import topic_errors
from streams.kafka.failures import missing_right
from streams.kafka.wait_until import wait_until
from streams.transport import TopicSpec

NO_LEADER_SECONDS = 0.05
"""Pause before it is checked again whether the partitions of new topics have leaders."""

UNLIMITED = -1

KAFKA_NAMES = {
    "compacted": "cleanup.policy",
    "retention_seconds": "retention.ms",
    "retention_bytes": "retention.bytes",
    "max_record_bytes": "max.message.bytes",
    "min.insync.replicas": "min.insync.replicas",
}
"""What an operator sets, by the field that differs."""

CHANGEABLE = ("retention_seconds", "retention_bytes", "max_record_bytes", "min.insync.replicas")
"""What an existing topic may be given; another kind of cleanup would make another topic of it."""

TOPIC_AUTHORIZATION_FAILED, TOPIC_ALREADY_EXISTS = 29, 36


def configuration(spec: TopicSpec, min_in_sync: int) -> dict[str, str]:
    """A topic's settings as Kafka names them."""
    seconds, size = spec.retention_seconds, spec.retention_bytes
    return {
        "cleanup.policy": "compact" if spec.compacted else "delete",
        "retention.ms": str(UNLIMITED if seconds is None else round(1000 * seconds)),
        "retention.bytes": str(UNLIMITED if size is None else size),
        "max.message.bytes": str(spec.max_record_bytes + BATCH_OVERHEAD_BYTES),
        "min.insync.replicas": str(min_in_sync),
        "message.timestamp.type": "LogAppendTime",  # a producer's own could end or outlast retention
    }


def specification(name: str, partitions: int, settings: dict[str, str]) -> TopicSpec:
    """The inverse of `configuration`."""
    milliseconds, size = int(settings["retention.ms"]), int(settings["retention.bytes"])
    return TopicSpec(
        name,
        partitions,
        compacted="compact" in settings["cleanup.policy"],
        retention_seconds=None if milliseconds == UNLIMITED else milliseconds / 1000,
        retention_bytes=None if size == UNLIMITED else size,
        max_record_bytes=int(settings["max.message.bytes"]) - BATCH_OVERHEAD_BYTES,
    )


@dataclass(frozen=True, slots=True)
class ClusterTopic:
    """A topic as the cluster has it: its specification, replicas, and how many of them must have a record."""

    spec: TopicSpec
    replicas: int
    min_in_sync: int


Difference: TypeAlias = tuple[str, object, object]
"""Of a topic: the setting, what it is, what is wanted."""


def differences(wanted: TopicSpec, replicas: int, topic: ClusterTopic) -> list[str]:
    """How a topic does not fit, and what ends it."""
    return [
        f"topic {wanted.name}: {name} is {actual}, wanted {expected}; to change it:"
        f" {_remedy(wanted, name, replicas, topic)}"
        for name, actual, expected in unlike(wanted, replicas, topic)
    ]


def unlike(wanted: TopicSpec, replicas: int, topic: ClusterTopic) -> list[Difference]:
    """Settings that do not fit; more replicas than wanted do no harm."""
    wrong: list[Difference] = [
        (field.name, getattr(topic.spec, field.name), getattr(wanted, field.name))
        for field in fields(TopicSpec)
        if field.name != "finished_by" and getattr(topic.spec, field.name) != getattr(wanted, field.name)
    ]
    if topic.replicas < replicas:
        wrong.append(("replication factor", topic.replicas, replicas))
    if topic.min_in_sync < min_in_sync(replicas):
        wrong.append(("min.insync.replicas", topic.min_in_sync, min_in_sync(replicas)))
    return wrong


def _remedy(wanted: TopicSpec, name: str, replicas: int, topic: ClusterTopic) -> str:
    """What ends one difference."""
    if name == "partitions":
        present = topic.spec.partitions
        if present < wanted.partitions:
            return f"kafka-topics.sh --alter --topic {wanted.name} --partitions {wanted.partitions}"
        return f"Kafka takes none away: set partitions = {present}, or create the topic again"
    if name == "replication factor":
        return f"kafka-reassign-partitions.sh, or ?replicas={topic.replicas} in the transport's URL"
    key = KAFKA_NAMES[name]
    value = configuration(wanted, min_in_sync(replicas))[key]
    own = "`sightline topics apply`, or " if name in CHANGEABLE else ""
    return f"{own}kafka-configs.sh --alter --entity-type topics --entity-name {wanted.name} --add-config {key}={value}"


def min_in_sync(replicas: int) -> int:
    """With three replicas, a record is acknowledged when two have it."""
    return 2 if replicas >= 3 else 1


async def describe(admin: AIOKafkaAdminClient) -> dict[str, ClusterTopic]:
    """Every topic but the cluster's own."""
    partitions = {
        topic["topic"]: topic["partitions"]
        for topic in await admin.describe_topics()
        if not topic["is_internal"] and not topic["error_code"]
    }
    if not partitions:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in partitions]
    configurations = {
        resource[3]: {entry[0]: entry[1] for entry in resource[4]}
        for response in await admin.describe_configs(resources)
        for resource in response.resources
        if not resource[0]
    }
    return {
        name: ClusterTopic(
            specification(name, len(partitions[name]), settings),
            replicas=min(len(partition["replicas"]) for partition in partitions[name]),
            min_in_sync=int(settings["min.insync.replicas"]),
        )
        for name, settings in configurations.items()
    }


async def check_visible(admin: AIOKafkaAdminClient, names: Sequence[str]) -> list[str]:
    """Those of `names` that exist. Raises Forbidden for a topic that may not be described, or not its configuration.

    A list of all topics leaves out those that may not be described: each is asked for by its name.
    """
    if not names:
        return []
    codes = await topic_errors(admin, names)
    if hidden := sorted(name for name, code in codes.items() if code == TOPIC_AUTHORIZATION_FAILED):
        raise Forbidden(missing_right("Describe", f"topic {', '.join(hidden)}"))
    existing = [name for name in names if codes.get(name) == 0]
    if existing and (hidden := sorted(set(existing) - (await describe(admin)).keys())):
        raise Forbidden(missing_right("DescribeConfigs", f"topic {', '.join(hidden)}"))
    return existing


async def wanted_replicas(admin: AIOKafkaAdminClient, replicas: int) -> int:
    """0 is three, or as many as there are brokers."""
    return replicas or min(3, len((await admin.describe_cluster())["brokers"]))


async def compare(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec], replicas: int) -> list[str]:
    """How the existing ones of these topics differ."""
    existing, replicas = await describe(admin), await wanted_replicas(admin, replicas)
    present = [spec for spec in specs if spec.name in existing]
    return [line for spec in present for line in differences(spec, replicas, existing[spec.name])]


async def create(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec], replicas: int, seconds: float) -> None:
    """Create the missing topics and wait up to `seconds` until they can be written to; 0 replicas is three, or as many
    as there are brokers.

    Raises PlanError naming every existing topic that differs; nothing is created then. Raises Unavailable.
    """
    existing = await describe(admin)
    await check_visible(admin, [spec.name for spec in specs if spec.name not in existing])
    replicas = await wanted_replicas(admin, replicas)
    if reasons := [
        line for spec in specs if spec.name in existing for line in differences(spec, replicas, existing[spec.name])
    ]:
        raise PlanError(reasons)
    missing = [spec for spec in specs if spec.name not in existing]
    if not missing:
        return
    new = [
        NewTopic(spec.name, spec.partitions, replicas, topic_configs=configuration(spec, min_in_sync(replicas)))
        for spec in missing
    ]
    response = await admin.create_topics(new)
    for name, code, *message in response.topic_errors:
        if code == TOPIC_AUTHORIZATION_FAILED:
            raise Forbidden(missing_right("Create", f"topic {name}, which does not exist"))
        if code not in (0, TOPIC_ALREADY_EXISTS):
            raise PlanError([f"topic {name}: {errors.for_code(code).__name__} {' '.join(map(str, message))}"])
    await _wait_for_leaders(admin, missing, seconds)


async def _wait_for_leaders(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec], seconds: float) -> None:
    names = [spec.name for spec in specs]

    async def led() -> bool | None:
        return _have_leaders(await admin.describe_topics(names), specs) or None

    try:
        async with asyncio.timeout(seconds):
            await wait_until(led, NO_LEADER_SECONDS)
    except TimeoutError as error:
        raise Unavailable(f"topics {', '.join(names)} have no leaders after {seconds} s") from error


def _have_leaders(described: Sequence[dict[str, object]], specs: Sequence[TopicSpec]) -> bool:
    leaders = {
        topic["topic"]: sum(partition["leader"] >= 0 for partition in topic["partitions"])  # type: ignore[attr-defined]
        for topic in described
        if not topic["error_code"]
    }
    return all(leaders.get(spec.name) == spec.partitions for spec in specs)
