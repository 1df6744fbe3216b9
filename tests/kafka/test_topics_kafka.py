"""`sightline topics` on a real broker: one declaration creates the topics, and differences are named."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from typer.testing import Result

from deploy.local.cluster import Cluster
from schemas import topics
from sightline.config import Config
from sightline.wiring.parts import declared_topics
from streams.kafka.topics import configuration
from streams.kafka.transport import KafkaTransport
from streams.plan import Plan
from tests.kafka.conftest import delete_topics
from tests.support.deployment import until
from tests.unit.sightline.conftest import Typed, typed

__all__ = ["typed"]


@pytest.fixture
def on_broker(cluster: Cluster, typed: Typed) -> Callable[..., Result]:
    """Runs a command against the broker, which has no topics yet."""
    asyncio.run(no_topics(cluster))

    def run(*arguments: str, keys: str = "") -> Result:
        return typed(*arguments, "--set", f"transport=kafka://{cluster.bootstrap}?request_seconds=10{keys}")

    return run


async def no_topics(cluster: Cluster) -> None:
    transport = KafkaTransport.from_url(f"kafka://{cluster.bootstrap}")
    await transport.open()
    await delete_topics(transport)
    await transport.close()


async def alter(cluster: Cluster) -> None:
    """What an operator may change: another partition, larger records, longer retention, no compaction."""
    declared = {spec.name: spec for spec in declared_topics(Config(), Plan(Config().segments))}
    admin = AIOKafkaAdminClient(bootstrap_servers=cluster.bootstrap)
    await admin.start()
    await admin.create_partitions({topics.RAW: NewPartitions(9)})
    for name, change in (
        (topics.ENRICHED, {"max.message.bytes": "2000000"}),
        (topics.DEAD, {"retention.ms": "-1"}),
        (topics.DELETIONS, {"cleanup.policy": "delete"}),
    ):
        changed = configuration(declared[name], 1) | change
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, changed)])
    await admin.close()


def test_one_declaration_creates_the_topics_and_names_differences(
    cluster: Cluster, on_broker: Callable[..., Result]
) -> None:
    missing = on_broker("topics", "check")
    assert missing.exit_code == 1
    assert "topic frames.raw: it does not exist" in missing.stderr
    described = on_broker("topics", "describe").stdout
    assert "missing" in described, "describing creates nothing"
    assert "KiB" not in described, "a topic was created"

    assert "created: frames.raw" in on_broker("topics", "create").stdout
    assert "all topics exist already" in on_broker("topics", "create").stdout
    assert "all topics are as declared" in on_broker("topics", "check").stdout
    rows = {line.split()[0]: line.split()[1:] for line in on_broker("topics", "describe").stdout.splitlines()}
    assert rows["frames.raw"] == ["8", "0", "0", "4096", "KiB", "168", "h"]
    assert rows["deletions"] == ["1", "0", "1024", "KiB", "compacted"]

    asyncio.run(alter(cluster))
    differences = (
        "topic frames.raw: partitions is 9, wanted 8",
        f"topic frames.enriched: max_record_bytes is {2_000_000 - 4096}, wanted {1 << 20}",
        "topic frames.dead: retention_seconds is None, wanted 604800.0",
        "topic deletions: compacted is False, wanted True",
    )
    for command in (("topics", "check"), ("topics", "create"), ("work", "--until-idle")):
        refused = on_broker(*command)
        assert refused.exit_code == 1, command
        for difference in differences:
            assert difference in refused.stderr, command
        assert "Traceback" not in refused.stderr


async def shorten(cluster: Cluster) -> None:
    """Retention and record size differ from the declaration, and a setting is there that Sightline does not know."""
    transport = KafkaTransport.from_url(f"kafka://{cluster.bootstrap}")
    await transport.open()
    spec = (await transport.topics())[topics.RAW]
    await transport.close()
    changed = configuration(spec, 1) | {"retention.ms": "3600000", "max.message.bytes": "900000", "segment.ms": "60000"}
    await alter_topic(cluster, topics.RAW, changed)


async def alter_topic(cluster: Cluster, topic: str, settings: dict[str, str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=cluster.bootstrap)
    await admin.start()
    (response,) = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, settings)])
    await admin.close()
    assert not response.resources[0][0], response

    async def is_known() -> bool:
        return all([await setting(cluster, topic, name) == value for name, value in settings.items()])

    await until(is_known)


async def setting(cluster: Cluster, topic: str, name: str) -> str:
    admin = AIOKafkaAdminClient(bootstrap_servers=cluster.bootstrap)
    await admin.start()
    (response,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    await admin.close()
    return str(next(entry[1] for entry in response.resources[0][4] if entry[0] == name))


def test_settings_of_existing_topics_are_applied(cluster: Cluster, on_broker: Callable[..., Result]) -> None:
    assert on_broker("topics", "create").exit_code == 0
    asyncio.run(shorten(cluster))
    refused = on_broker("topics", "check")
    assert refused.exit_code == 1
    assert "retention_seconds is 3600.0, wanted 604800.0; to change it: `sightline topics apply`" in refused.stderr
    applied = on_broker("topics", "apply")
    assert "topic frames.raw: retention_seconds was 3600.0, is 604800.0" in applied.stdout
    assert on_broker("topics", "check").exit_code == 0
    assert "all topics exist already" in on_broker("topics", "apply").stdout
    assert asyncio.run(setting(cluster, topics.RAW, "segment.ms")) == "60000", "an operator's own setting stays"

    asyncio.run(alter(cluster))
    refused = on_broker("topics", "apply")
    assert refused.exit_code == 1
    assert "topic frames.raw: partitions is 9, wanted 8" in refused.stderr
    assert asyncio.run(setting(cluster, topics.DEAD, "retention.ms")) == "-1", "all reasons at once, nothing changed"


def test_a_topic_with_fewer_copies_than_promised_is_refused(on_broker: Callable[..., Result]) -> None:
    """Created while there was one broker; three replicas are wanted now."""
    assert on_broker("topics", "create").exit_code == 0
    refused = on_broker("topics", "check", keys="&replicas=3")
    assert refused.exit_code == 1
    assert "topic frames.raw: replication factor is 1, wanted 3" in refused.stderr
    assert "topic frames.raw: min.insync.replicas is 1, wanted 2" in refused.stderr


def test_an_unknown_delivery_is_refused_at_start(on_broker: Callable[..., Result]) -> None:
    for keys, message in (("&delivery=exactly_once", "delivery"), ("&guarantee=transactional", "guarantee")):
        refused = on_broker("work", "--until-idle", keys=keys)
        assert refused.exit_code == 2
        assert message in refused.stderr
