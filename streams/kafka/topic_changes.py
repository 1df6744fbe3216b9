"""Gives existing topics the settings of the configuration, as far as the broker allows it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from streams.errors import Forbidden, PlanError
from streams.kafka.failures import missing_right
from streams.kafka.topics import (
    CHANGEABLE,
    KAFKA_NAMES,
    TOPIC_AUTHORIZATION_FAILED,
    ClusterTopic,
    compare,
    configuration,
    describe,
    differences,
    min_in_sync,
    unlike,
    wanted_replicas,
)
from streams.kafka.wait_until import wait_until
from streams.transport import TopicSpec

UNKNOWN_SECONDS = 0.05
"""Pause before it is checked again whether changes have reached the brokers."""
SET_ON_TOPIC = 1
"""The source of a setting that is the topic's own, in the answer to DescribeConfigs: the others are defaults."""


async def apply(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec], replicas: int, seconds: float) -> list[str]:
    """A line for each setting that was changed, once the brokers know it, within `seconds`. Raises Forbidden.

    Raises PlanError where a topic differs in what cannot be changed here; nothing is changed then.
    """
    existing, replicas = await describe(admin), await wanted_replicas(admin, replicas)
    present = [spec for spec in specs if spec.name in existing]
    if fixed := [line for spec in present for line in _fixed(spec, replicas, existing[spec.name])]:
        raise PlanError(fixed)
    changes = [line for spec in present for line in await _apply(admin, spec, replicas, existing[spec.name])]

    async def is_known() -> bool | None:
        return not await compare(admin, present, replicas) or None

    async with asyncio.timeout(seconds):
        await wait_until(is_known, UNKNOWN_SECONDS)
    return changes


def _fixed(spec: TopicSpec, replicas: int, topic: ClusterTopic) -> list[str]:
    """What `unlike` finds and `apply` cannot change; both give their findings in the same order."""
    lines = zip(unlike(spec, replicas, topic), differences(spec, replicas, topic), strict=True)
    return [line for (name, _, _), line in lines if name not in CHANGEABLE]


async def _apply(admin: AIOKafkaAdminClient, spec: TopicSpec, replicas: int, topic: ClusterTopic) -> list[str]:
    """The request replaces all of a topic's own settings: those that Sightline does not know are sent again."""
    changes = unlike(spec, replicas, topic)
    if not changes:
        return []
    wanted = configuration(spec, min_in_sync(replicas))
    changed = {KAFKA_NAMES[name]: wanted[KAFKA_NAMES[name]] for name, _, _ in changes}
    settings = await _own_settings(admin, spec.name) | changed
    resource = ConfigResource(ConfigResourceType.TOPIC, spec.name, settings)
    for response in await admin.alter_configs([resource]):
        for code, message, *_ in response.resources:
            if code == TOPIC_AUTHORIZATION_FAILED:
                raise Forbidden(missing_right("AlterConfigs", f"topic {spec.name}"))
            if code:
                raise PlanError([f"topic {spec.name}: {errors.for_code(code).__name__} {message or ''}".strip()])
    return [f"topic {spec.name}: {name} was {before}, is {after}" for name, before, after in changes]


async def _own_settings(admin: AIOKafkaAdminClient, topic: str) -> dict[str, str]:
    (response,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    return {
        name: value
        for resource in response.resources
        for name, value, _, source, *_ in resource[4]
        if source == SET_ON_TOPIC
    }
