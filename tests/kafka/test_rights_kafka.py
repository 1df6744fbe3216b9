"""Users with only some rights, on a broker that grants none by itself: what is missing is named in one line.

The rights are read from the table of `docs/kafka.md`, so each is needed and none is missing there.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.client import AIOKafkaClient
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest

from deploy.local.cluster import Cluster
from deploy.local.secure import Login
from schemas import topics
from streams.errors import Forbidden, PlanError, Unavailable
from streams.kafka.transport import KafkaTransport
from streams.lifecycle.accepted_frames import acceptance_record, accepted_frames
from streams.lifecycle.dead_letters import DeadLetters
from streams.lifecycle.deletions import Deletions
from streams.lifecycle.finish_topic import PlanGroups, onward
from streams.lifecycle.unfinished import find_unfinished
from streams.plan import Plan
from streams.topic_reader import read_topic
from streams.transport import NewRecord, Position, TopicSpec
from tests.contract.transport_suite import RecordingListener
from tests.kafka.test_security_kafka import url
from tests.support.deployment import declared, fated

LOGIN = Login("anna", "a b/c")
PAGE = Path(__file__).parents[2] / "docs" / "kafka.md"
RESOURCES = {"topic": 2, "group": 3, "cluster": 4, "transactional id": 5}
OPERATIONS = {"Read": 3, "Write": 4, "Create": 5, "Delete": 6, "Describe": 8, "DescribeConfigs": 10, "AlterConfigs": 11}
PLAN, LEFT = Plan((("decode",),)), topics.between("gate")
LITERAL, PREFIXED, ALLOW, ANY = 3, 4, 3, 1
ROW = re.compile(
    r"\| (?P<commands>[^|]+) \| (?P<resource>topic|group|transactional id) \| (?P<names>[^|]+) \| (?P<rights>[^|]+) \|"
)


class Right(NamedTuple):
    resource: str
    name: str
    """Ends with `*` where it is a prefix."""
    operation: str


def documented(command: str, *, delivery: str = "at_least_once") -> list[Right]:
    """What the page says that a command needs."""
    rows = [match for line in PAGE.read_text().splitlines() if (match := ROW.match(line))]
    return [
        Right(row["resource"], name, right.strip())
        for row in rows
        if "every command" in row["commands"] or f"`{command}`" in row["commands"]
        if "delivery=" not in row["commands"] or delivery in row["commands"]
        for name in re.findall(r"`([^`]+)`", row["names"])
        if "STAGE" not in name
        for right in row["rights"].split(",")
    ]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("guarded"), login=LOGIN, has_rights=True)
    cluster.start()
    yield cluster
    cluster.stop()


@pytest.fixture(autouse=True)
async def created(guarded: Cluster) -> None:
    transport = KafkaTransport.from_url(f"kafka://{guarded.bootstrap}")
    await transport.open()
    await transport.create(declared())
    await transport.publish([fated("ok", number=number) for number in range(20)])
    await transport.close()


@pytest.fixture
async def broker(guarded: Cluster) -> AsyncIterator[AIOKafkaClient]:
    """The first listener's clients have all rights."""
    client = AIOKafkaClient(bootstrap_servers=guarded.bootstrap)
    await client.bootstrap()
    yield client
    await client.close()


async def grant(broker: AIOKafkaClient, rights: Sequence[Right]) -> None:
    """These and no others."""
    node = broker.get_random_node()
    await broker.send(node, DeleteAclsRequest(ANY, None, ANY, f"User:{LOGIN.username}", None, ANY, ANY))
    for resource, name, operation in rights:
        pattern = PREFIXED if name.endswith("*") and name != "*" else LITERAL
        name = name if pattern == LITERAL else name[:-1]
        request = CreateAclsRequest(
            RESOURCES[resource], name, pattern, f"User:{LOGIN.username}", "*", OPERATIONS[operation], ALLOW
        )
        answer = await broker.send(node, request)
        assert not any(row[0] for row in answer.creation_responses), answer


@asynccontextmanager
async def opened(cluster: Cluster, delivery: str = "at_least_once") -> AsyncIterator[KafkaTransport]:
    keys = {"ca_file": str(cluster.certificate), "request_seconds": "10", "session_seconds": "6"}
    transport = KafkaTransport.from_url(url(cluster, LOGIN.password, delivery=delivery, **keys))
    try:
        await transport.open()
        yield transport
    finally:
        await transport.close()


async def work(cluster: Cluster, delivery: str = "at_least_once") -> None:
    """What a worker asks of the broker."""
    async with opened(cluster, delivery) as transport:
        await transport.create(declared())
        await Deletions(transport).catch_up()
        consumer = await transport.consumer("sightline.decode", [topics.RAW], RecordingListener())
        try:
            async with asyncio.timeout(20):
                while not (records := await consumer.poll(1, 1.0)):
                    pass
            await consumer.lag()
            outputs = [NewRecord(topic, b"k", b"{}") for topic in (topics.ENRICHED, topics.OBSERVED, topics.DEAD)]
            partition, epoch = records[0].partition, records[0].epoch
            await consumer.publish_and_commit(outputs, {partition: Position(0)}, {partition: epoch})
            await transport.publish([NewRecord(topics.DELETIONS, b"k", b"")])
            for topic in (topics.ENRICHED, topics.DEAD):
                _ = [record async for record in read_topic(transport, topic)]
        finally:
            await consumer.close()


async def ingest(cluster: Cluster) -> None:
    async with opened(cluster) as transport:
        await transport.create(declared())
        await Deletions(transport).catch_up()
        await accepted_frames(transport, "default", "lobby")
        await transport.publish([fated("ok"), acceptance_record("default", "lobby", ["1" * 32], 1.0)])
        await transport.publish([NewRecord(topics.OBSERVED, b"k", b"{}")])
        await transport.group_lag("sightline.decode", [topics.RAW])
        await find_unfinished(transport, PLAN, "sightline", 0.0)


async def apply(cluster: Cluster) -> None:
    wanted = [replace(spec, retention_seconds=7_200.0) for spec in declared() if spec.name == topics.OBSERVED]
    async with opened(cluster) as transport:
        assert await transport.differences(wanted)
        assert await transport.apply(wanted)
        assert not await transport.differences(wanted)
        await transport.apply([spec for spec in declared() if spec.name == topics.OBSERVED])


async def finish(cluster: Cluster) -> None:
    administrator = KafkaTransport.from_url(f"kafka://{cluster.bootstrap}")
    await administrator.open()
    await administrator.create([TopicSpec(LEFT, 1)])
    await administrator.publish([NewRecord(LEFT, b"k", b"{}") for _ in range(3)])
    await administrator.close()
    async with opened(cluster) as transport:
        groups = PlanGroups(transport, PLAN, "sightline")
        assert await groups.finish_topic(LEFT, onward(PLAN)) == 3
        assert not (await find_unfinished(transport, PLAN, "sightline", 0.0)).left_over
        assert "sightline.gate" not in await transport.groups()


async def list_dead(cluster: Cluster) -> None:
    async with opened(cluster) as transport:
        await DeadLetters(transport).choose()


@pytest.mark.parametrize("delivery", ["at_least_once", "transactional"])
async def test_a_worker_needs_the_rights_of_the_page_and_names_each_that_is_missing(
    guarded: Cluster, broker: AIOKafkaClient, delivery: str
) -> None:
    rights = documented("work", delivery=delivery)
    await grant(broker, rights)
    await work(guarded, delivery)
    for missing in rights:
        await grant(broker, [right for right in rights if right != missing])
        with pytest.raises(Forbidden) as refused:
            await work(guarded, delivery)
        message = str(refused.value)
        assert "\n" not in message
        assert f"the right {missing.operation} on {missing.resource} " in message, missing
        assert missing.name.rstrip("*") in message, missing


@pytest.mark.parametrize(
    ("command", "run"),
    [("ingest", ingest), ("dead list", list_dead), ("topics apply", apply), ("topics finish", finish)],
)
async def test_a_command_needs_the_rights_of_the_page(
    guarded: Cluster, broker: AIOKafkaClient, command: str, run: Callable[[Cluster], Awaitable[None]]
) -> None:
    await grant(broker, documented(command))
    await run(guarded)


async def test_without_any_right_the_first_is_named_and_no_topic_is_said_to_be_missing(
    guarded: Cluster, broker: AIOKafkaClient
) -> None:
    await grant(broker, [])
    for run in (work, ingest, list_dead):
        with pytest.raises(Forbidden, match=r"the right Describe on topic .*frames\."):
            await run(guarded)
    await grant(broker, [Right("topic", "*", "Describe")])
    with pytest.raises(Forbidden, match=r"the right DescribeConfigs on topic .*frames\.raw"):
        await work(guarded)


async def test_a_topic_that_may_not_be_created_is_named(guarded: Cluster, broker: AIOKafkaClient) -> None:
    await grant(broker, documented("work"))
    async with opened(guarded) as transport:
        with pytest.raises(Forbidden, match=r"the right Create on topic frames\.to\.detect"):
            await transport.create([*declared(), TopicSpec("frames.to.detect", 1)])


async def test_another_program_in_the_group_is_told(guarded: Cluster, broker: AIOKafkaClient) -> None:
    await grant(broker, documented("work"))
    other = AIOKafkaConsumer(
        topics.RAW,
        bootstrap_servers=guarded.bootstrap,
        group_id="sightline.decode",
        partition_assignment_strategy=(StickyPartitionAssignor,),
    )
    async with other:
        with pytest.raises(Forbidden, match=r"another program is a member of group sightline\.decode"):
            await work(guarded)


async def test_groups_that_may_not_be_described_are_left_out(guarded: Cluster, broker: AIOKafkaClient) -> None:
    """Who may describe the cluster is told the names of all."""
    administrator = KafkaTransport.from_url(f"kafka://{guarded.bootstrap}")
    await administrator.open()
    consumer = await administrator.consumer("another program", [topics.RAW], RecordingListener())
    async with asyncio.timeout(20):
        while not await consumer.poll(1, 1.0):
            pass
    await consumer.commit(dict.fromkeys(consumer.assignment(), Position(0)), consumer.assignment())
    await administrator.close()
    await grant(broker, [*documented("ingest"), Right("cluster", "kafka-cluster", "Describe")])
    async with opened(guarded) as transport:
        assert "another program" not in await transport.groups()


async def test_why_there_is_no_connection_is_told(guarded: Cluster, tmp_path: Path) -> None:
    for keys, password, reason in (
        ({}, LOGIN.password, "the system's certificates does not vouch for its certificate"),
        ({"ca_file": str(guarded.certificate)}, "guess", "refuses the login of user anna by SCRAM-SHA-512"),
        ({"ca_file": str(guarded.certificate), "mechanism": "PLAIN"}, LOGIN.password, "does not offer mechanism=PLAIN"),
    ):
        transport = KafkaTransport.from_url(url(guarded, password, request_seconds="2", **keys))
        with pytest.raises(Unavailable, match=reason):
            await transport.open()
    (tmp_path / "ca.pem").write_text("nothing")
    for path in (tmp_path / "none.pem", tmp_path / "ca.pem"):
        with pytest.raises(PlanError, match=f"ca_file {path}"):
            await KafkaTransport.from_url(url(guarded, LOGIN.password, ca_file=str(path))).open()
