"""Topics of a cluster as `TopicSpec`s: created, read back and compared."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, fields

from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from streams.errors import PlanError, Unavailable
from streams.transport import TopicSpec

BATCH_OVERHEAD_BYTES = 4096
"""Kafka limits a batch, we a record: a batch's header, and a record's with many headers, fit in this."""

NO_LEADER_SECONDS = 0.05
FOREVER = -1

TOPIC_ALREADY_EXISTS = 36


def configuration(spec: TopicSpec, agreeing: int) -> dict[str, str]:
    seconds, size = spec.retention_seconds, spec.retention_bytes
    return {
        "cleanup.policy": "compact" if spec.compacted else "delete",
        "retention.ms": str(FOREVER if seconds is None else round(1000 * seconds)),
        "retention.bytes": str(FOREVER if size is None else size),
        "max.message.bytes": str(spec.max_record_bytes + BATCH_OVERHEAD_BYTES),
        "min.insync.replicas": str(agreeing),
    }


def specification(name: str, partitions: int, found: dict[str, str]) -> TopicSpec:
    milliseconds, size = int(found["retention.ms"]), int(found["retention.bytes"])
    return TopicSpec(
        name,
        partitions,
        compacted="compact" in found["cleanup.policy"],
        retention_seconds=None if milliseconds == FOREVER else milliseconds / 1000,
        retention_bytes=None if size == FOREVER else size,
        max_record_bytes=int(found["max.message.bytes"]) - BATCH_OVERHEAD_BYTES,
    )


@dataclass(frozen=True, slots=True)
class Found:
    """A topic as the cluster has it: beside what was declared, how many copies there are and how many must agree."""

    spec: TopicSpec
    copies: int
    in_sync: int


def differences(wanted: TopicSpec, copies: int, found: Found) -> list[str]:
    """How a topic does not fit; more copies than wanted do no harm."""
    wrong = [
        (field.name, getattr(found.spec, field.name), getattr(wanted, field.name))
        for field in fields(TopicSpec)
        if getattr(found.spec, field.name) != getattr(wanted, field.name)
    ]
    if found.copies < copies:
        wrong.append(("replication factor", found.copies, copies))
    if found.in_sync < in_sync(copies):
        wrong.append(("min.insync.replicas", found.in_sync, in_sync(copies)))
    return [f"topic {wanted.name}: {name} is {there}, wanted {asked}" for name, there, asked in wrong]


def in_sync(copies: int) -> int:
    """Acknowledged is what two copies have, where there are three."""
    return 2 if copies >= 3 else 1


async def describe(admin: AIOKafkaAdminClient) -> dict[str, Found]:
    """Every topic but the cluster's own."""
    found = {
        topic["topic"]: topic["partitions"]
        for topic in await admin.describe_topics()
        if not topic["is_internal"] and not topic["error_code"]
    }
    if not found:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in found]
    configurations = {
        resource[3]: {entry[0]: entry[1] for entry in resource[4]}
        for response in await admin.describe_configs(resources)
        for resource in response.resources
        if not resource[0]
    }
    return {
        name: Found(
            specification(name, len(found[name]), entries),
            copies=min(len(partition["replicas"]) for partition in found[name]),
            in_sync=int(entries["min.insync.replicas"]),
        )
        for name, entries in configurations.items()
    }


async def create(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec], replicas: int, seconds: float) -> None:
    """Create the missing topics and wait until they can be written to.

    Raises PlanError naming every existing one that differs; nothing is created then.
    """
    found = await describe(admin)
    copies = replicas or min(3, len((await admin.describe_cluster())["brokers"]))
    there = [spec for spec in specs if spec.name in found]
    if reasons := [reason for spec in there for reason in differences(spec, copies, found[spec.name])]:
        raise PlanError(reasons)
    missing = [spec for spec in specs if spec.name not in found]
    if not missing:
        return
    new = [
        NewTopic(spec.name, spec.partitions, copies, topic_configs=configuration(spec, in_sync(copies)))
        for spec in missing
    ]
    response = await admin.create_topics(new)
    for name, code, *message in response.topic_errors:
        if code not in (0, TOPIC_ALREADY_EXISTS):
            raise PlanError([f"topic {name}: {errors.for_code(code).__name__} {' '.join(map(str, message))}"])
    await _wait_for_leaders(admin, missing, seconds)


async def _wait_for_leaders(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec], seconds: float) -> None:
    names = [spec.name for spec in specs]
    try:
        async with asyncio.timeout(seconds):
            while not _led(await admin.describe_topics(names), specs):  # noqa: ASYNC110 - the broker is asked
                await asyncio.sleep(NO_LEADER_SECONDS)
    except TimeoutError as error:
        raise Unavailable(f"no leaders for {', '.join(names)} after {seconds} s") from error


def _led(found: Sequence[dict[str, object]], specs: Sequence[TopicSpec]) -> bool:
    leaders = {
        topic["topic"]: sum(partition["leader"] >= 0 for partition in topic["partitions"])  # type: ignore[attr-defined]
        for topic in found
        if not topic["error_code"]
    }
    return all(leaders.get(spec.name) == spec.partitions for spec in specs)
