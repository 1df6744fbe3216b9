"""Records that no worker of the plan finishes, on a real broker: moved on, given up, and told before they expire."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
from typer.testing import Result

from deploy.local.cluster import VERSION, Cluster
from schemas import topics
from sightline.config import Config
from sightline.wiring.build_worker import build_worker
from sightline.wiring.parts import opened
from streams.errors import GroupInUse
from streams.kafka.transport import KafkaTransport
from streams.lifecycle.finish_topic import PlanGroups, onward
from streams.lifecycle.unfinished import find_unfinished
from streams.plan import Plan
from streams.topic_reader import read_topic
from streams.transport import NewRecord, Partition, Position, Record, TopicSpec
from tests.contract.transport_suite import RecordingListener, key_for, values
from tests.kafka.conftest import delete_topics
from tests.support.deployment import running, until
from tests.unit.sightline.commands.test_groups import FUSED, LEFT, LINE, SPLIT, plan, words
from tests.unit.sightline.conftest import Typed, pictures, typed

__all__ = ["pictures", "typed"]
PLAN = Plan(FUSED)
DELIVERIES = ("at_least_once", "transactional")


@pytest.fixture(params=DELIVERIES)
def url(cluster: Cluster, request: pytest.FixtureRequest) -> str:
    return f"kafka://{cluster.bootstrap}?session_seconds=6&delivery={request.param}"


@pytest.fixture
async def transport(url: str) -> AsyncIterator[KafkaTransport]:
    transport = KafkaTransport.from_url(url)
    await transport.open()
    await delete_topics(transport)
    for group in await transport.groups():
        await transport.forget(group)
    await transport.create([TopicSpec(topics.RAW, 2, retention_seconds=604_800), TopicSpec(LEFT, 2)])
    yield transport
    await transport.close()


async def raw(transport: KafkaTransport) -> list[bytes | None]:
    return [record.value async for record in read_topic(transport, topics.RAW)]


async def test_an_interrupted_move_goes_on_and_loses_nothing(transport: KafkaTransport) -> None:
    await transport.publish([record for key in "abcd" for record in values(LEFT, key, range(30))])
    groups, calls = PlanGroups(transport, PLAN, "sightline"), 0
    move = onward(PLAN)

    async def interrupted(records: Sequence[Record]) -> Sequence[NewRecord]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise asyncio.CancelledError
        return await move(records)

    with pytest.raises(asyncio.CancelledError):
        await groups.finish_topic(LEFT, interrupted)
    await transport.group_lag("sightline.gate", [LEFT])  # waits for a transaction that is ending
    (left,) = (await find_unfinished(transport, PLAN, "sightline", time.time())).left_over
    assert 0 < left.records < 120
    assert await groups.finish_topic(LEFT, move) == left.records
    assert len(await raw(transport)) == 120
    assert not (await find_unfinished(transport, PLAN, "sightline", time.time())).left_over
    assert "sightline.gate" not in await transport.groups("sightline.")
    assert {first == end for first, end in (await transport.ends(LEFT)).values()} == {True}


async def test_a_group_is_given_up(transport: KafkaTransport) -> None:
    groups = PlanGroups(transport, PLAN, "sightline")
    assert await groups.give_up_means("sightline.gate") is None
    await transport.publish(values(LEFT, "a", range(20)) + values(topics.RAW, "a", range(2)))
    consumer = await transport.consumer("sightline.gate", [LEFT, topics.RAW], RecordingListener())
    async with asyncio.timeout(30):
        while not (records := [record for record in await consumer.poll(5, 1.0) if record.partition.topic == LEFT]):
            pass
        await consumer.commit({records[0].partition: Position(records[0].offset + 1)}, consumer.assignment())
    present = await groups.give_up_means("sightline.gate")
    assert present is not None
    with pytest.raises(GroupInUse):
        await groups.give_up(present, onward(PLAN))
    await consumer.close()
    given_up = await groups.give_up_means("sightline.gate")
    assert given_up is not None
    assert dict(given_up.dead) == {LEFT: 19}, "the plan finishes what is on frames.raw"
    assert await groups.give_up(given_up, onward(PLAN)) == 19
    assert len(await raw(transport)) == 2 + 19
    assert await groups.give_up_means("sightline.gate") is None
    assert not (await find_unfinished(transport, PLAN, "sightline", time.time())).left_over


@pytest.mark.parametrize("cluster", [VERSION], indirect=True, scope="session")
async def test_of_a_log_that_was_replaced_everything_moves_on(transport: KafkaTransport) -> None:
    """The group's position is behind the end of the only partition with records."""
    await transport.publish(values(LEFT, key_for(0, 2), range(30)))
    consumer = await transport.consumer("sightline.gate", [LEFT], RecordingListener())
    async with asyncio.timeout(30):
        while not await consumer.poll(10, 1.0):
            pass
        await consumer.commit({Partition(LEFT, 0): Position(1000)}, consumer.assignment())
    await consumer.close()
    (left,) = (await find_unfinished(transport, PLAN, "sightline", time.time())).left_over
    assert left.records == 30
    async with asyncio.timeout(60):
        assert await PlanGroups(transport, PLAN, "sightline").finish_topic(LEFT, onward(PLAN)) == 30
    assert len(await raw(transport)) == 30


@pytest.mark.parametrize("cluster", [VERSION], indirect=True, scope="session")
async def test_what_expires_soon_is_told(transport: KafkaTransport) -> None:
    await transport.publish(values(topics.RAW, "a", range(3)))
    now = time.time()
    assert not (await find_unfinished(transport, PLAN, "sightline", now)).warnings
    later = await find_unfinished(transport, PLAN, "sightline", now + 6 * 86_400)
    assert [round(entry.share, 2) for entry in later.oldest] == [0.86]
    absent, expiring = later.warnings
    assert "group sightline.decode of this plan has no worker and 3 records" in absent
    assert "is 6 days old, and the broker drops it after 7 days" in expiring
    consumer = await transport.consumer("sightline.decode", [topics.RAW], RecordingListener())
    async with asyncio.timeout(30):
        while not (records := await consumer.poll(10, 1.0)):
            pass
    await consumer.commit({records[0].partition: Position(3)}, consumer.assignment())
    await consumer.close()
    assert not (await find_unfinished(transport, PLAN, "sightline", now + 6 * 86_400)).warnings


@pytest.fixture
def on_broker(cluster: Cluster, typed: Typed) -> Callable[..., Result]:
    async def empty() -> None:
        transport = KafkaTransport.from_url(f"kafka://{cluster.bootstrap}")
        await transport.open()
        await delete_topics(transport)
        for group in await transport.groups():
            await transport.forget(group)
        await transport.close()

    asyncio.run(empty())
    return lambda *arguments: typed(*arguments, f"--set=transport=kafka://{cluster.bootstrap}")


async def work_on_first_segment(cluster: Cluster, data: Path) -> None:
    config = Config(data=str(data), segments=SPLIT, transport=f"kafka://{cluster.bootstrap}")
    async with opened(config) as parts, running(build_worker(parts, 0)):

        async def finished() -> bool:
            return not sum((await parts.transport.group_lag("sightline.decode", [topics.RAW])).values())

        await until(finished)


@pytest.mark.parametrize("cluster", [VERSION], indirect=True, scope="session")
def test_frames_of_a_plan_that_changed(
    cluster: Cluster, on_broker: Callable[..., Result], pictures: Path, tmp_path: Path
) -> None:
    assert on_broker("ingest", str(pictures), plan(SPLIT)).exit_code == 0
    asyncio.run(work_on_first_segment(cluster, tmp_path / "data"))
    checked = on_broker("topics", "check", plan(FUSED))
    assert checked.exit_code == 1
    assert LINE in words(checked.stderr)
    assert "5 frames moved on" in on_broker("topics", "finish", LEFT, plan(FUSED)).stdout
    assert on_broker("topics", "check", plan(FUSED)).exit_code == 0
    assert on_broker("work", "--until-idle", plan(FUSED)).exit_code == 0
    assert "6 frames accepted: 5 enriched, 1 dead-lettered" in on_broker("check", plan(FUSED)).stdout
    assert "sightline.decode" in on_broker("groups", "list", plan(FUSED)).stdout
