"""Records of a topic that the plan does not read, on the embedded log: moved on once, also after an interruption."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from schemas import topics
from streams.errors import GroupInUse
from streams.lifecycle.finish_topic import PlanGroups, onward
from streams.lifecycle.unfinished import known_groups
from streams.plan import Plan
from streams.sqlite.transport import SqliteTransport
from streams.topic_reader import read_topic
from streams.transport import NewRecord, Partition, Position, Record, TopicSpec
from tests.contract.transport_suite import RecordingListener, key_for, values

LEFT = topics.between("gate")
PLAN = Plan((("decode", "gate"),))
RECORDS = 30


@pytest.fixture
async def transport(tmp_path: Path) -> AsyncIterator[SqliteTransport]:
    transport = SqliteTransport(tmp_path / "log.sqlite")
    await transport.open()
    await transport.create([TopicSpec(topics.RAW, 2), TopicSpec(LEFT, 2, finished_by=("sightline.gate",))])
    for index in range(2):
        await transport.publish(values(LEFT, key_for(index, 2), range(RECORDS)))
    yield transport
    await transport.close()


async def moved(transport: SqliteTransport) -> list[bytes | None]:
    return [record.value async for record in read_topic(transport, topics.RAW)]


async def test_an_interrupted_move_goes_on_and_writes_nothing_twice(transport: SqliteTransport) -> None:
    groups, move, calls = PlanGroups(transport, PLAN, "sightline"), onward(PLAN), 0

    async def interrupted(records: Sequence[Record]) -> Sequence[NewRecord]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise asyncio.CancelledError
        return await move(records)

    with pytest.raises(asyncio.CancelledError):
        await groups.finish_topic(LEFT, interrupted)
    before = len(await moved(transport))
    assert 0 < before < 2 * RECORDS
    assert await groups.finish_topic(LEFT, move) == 2 * RECORDS - before
    assert sorted(map(int, filter(None, await moved(transport)))) == sorted([*range(RECORDS)] * 2)
    assert {first == end for first, end in (await transport.ends(LEFT)).values()} == {True}
    assert "sightline.gate" not in await transport.groups()


@pytest.mark.parametrize("positions", [((5, 12), (9, 3)), ((12, 5), (3, 9)), ((12, 5), (9, 3))])
async def test_what_two_groups_have_not_finished_moves_on_once(
    transport: SqliteTransport, positions: Sequence[tuple[int, int]]
) -> None:
    """Whichever of them comes first: positions of both, by partition."""
    for group, own in zip(("old.gate", "sightline.gate"), zip(*positions, strict=True), strict=True):
        consumer = await transport.consumer(group, [LEFT], RecordingListener())
        await consumer.poll(1, 1.0)
        for index, position in enumerate(own):
            await consumer.commit({Partition(LEFT, index): Position(position)}, consumer.assignment())
        await consumer.close()
    expected = [number for own in positions for number in range(min(own), RECORDS)]
    assert await PlanGroups(transport, PLAN, "sightline").finish_topic(LEFT, onward(PLAN)) == len(expected)
    assert sorted(map(int, filter(None, await moved(transport)))) == sorted(expected)
    assert not await transport.groups()


async def test_workers_of_the_other_plan_keep_their_topic(transport: SqliteTransport) -> None:
    groups = PlanGroups(transport, PLAN, "sightline")
    consumer = await transport.consumer("sightline.gate", [LEFT], RecordingListener())
    await consumer.poll(1, 1.0)
    with pytest.raises(GroupInUse, match=rf"group sightline.gate has workers that read {LEFT}: stop them first"):
        await groups.finish_topic(LEFT, onward(PLAN))
    await consumer.close()
    assert await groups.finish_topic(LEFT, onward(PLAN)) == 2 * RECORDS


async def test_a_topic_that_is_created_meanwhile_is_seen_the_next_time(transport: SqliteTransport) -> None:
    before = await transport.topics()
    new = topics.between("caption")
    await transport.create([TopicSpec(new, 1)])
    await transport.consumer("old.caption", [LEFT, new], RecordingListener())
    assert {p.topic for p in (await known_groups(transport, before, {}))["old.caption"].positions} == {LEFT}
    assert {p.topic for p in (await known_groups(transport, [LEFT, new], {}))["old.caption"].positions} == {LEFT, new}
