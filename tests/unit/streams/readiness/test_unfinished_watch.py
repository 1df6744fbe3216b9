"""What needs a person is on `/readyz`, which stays ready, in metrics, and away again when it is done."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from schemas import topics
from streams.clock import ManualClock
from streams.lifecycle.unfinished import ABSENT_SECONDS
from streams.metrics import ProcessMetrics
from streams.plan import Plan
from streams.readiness.health import Health
from streams.readiness.monitor import Monitor
from streams.readiness.unfinished_watch import WATCH_SECONDS, UnfinishedWatch
from streams.sqlite.transport import SqliteTransport
from streams.transport import Position, TopicSpec
from tests.contract.transport_suite import RecordingListener, values
from tests.support.deployment import until

LEFT = topics.between("gate")
PLAN = Plan((("decode", "gate"),))


@pytest.fixture
async def transport(tmp_path: Path) -> AsyncIterator[SqliteTransport]:
    transport = SqliteTransport(tmp_path / "log.sqlite")
    await transport.open()
    compacted = TopicSpec(topics.DELETIONS, 1, compacted=True)
    await transport.create([TopicSpec(topics.RAW, 2), TopicSpec(LEFT, 2), TopicSpec("orders", 1), compacted])
    yield transport
    await transport.close()


async def commit(transport: SqliteTransport, group: str, topic: str, records: int) -> None:
    consumer = await transport.consumer(group, [topic], RecordingListener())
    taken = 0
    while taken < records:
        polled = await consumer.poll(records - taken, 1.0)
        taken += len(polled)
        for record in polled:
            await consumer.commit({record.partition: Position(record.offset + 1)}, consumer.assignment())
    await consumer.poll(1, 0.0)
    await consumer.close()


async def test_warnings_come_and_go(transport: SqliteTransport) -> None:
    clock, registry = ManualClock(time.time()), CollectorRegistry()
    health = Health(clock, 60)
    health.warmed()
    watch = UnfinishedWatch(transport, clock, ProcessMetrics(registry), health)
    await transport.publish(values(topics.RAW, "a", range(6)) + values(LEFT, "a", range(4)))
    await commit(transport, "sightline.decode", topics.RAW, 2)
    await commit(transport, "old.decode", topics.RAW, 1)
    await commit(transport, "sightline.gate", LEFT, 1)
    await transport.publish(values(topics.DELETIONS, "a", range(2)))
    await commit(transport, "sightline-feeds", topics.DELETIONS, 0)
    await transport.publish(values("orders", "a", range(2)))
    await commit(transport, "another program", "orders", 1)
    watching = asyncio.create_task(watch.run(PLAN, "sightline"))
    await until(lambda: clock.sleepers)
    left = f"3 frames are left on {LEFT}, which this plan does not read: run `sightline topics finish {LEFT}`"
    assert health.warnings == [left], "groups that were there today are no fault"
    assert registry.get_sample_value("sightline_left_over_records", {"topic": LEFT}) == 3
    async with (
        Monitor(health, registry, socket.create_server(("127.0.0.1", 0))) as monitor,
        aiohttp.ClientSession() as session,
        session.get(f"{monitor.url}/readyz") as response,
    ):
        assert (response.status, await response.text()) == (200, f"ready\nwarning: {left}\n")

    await commit(transport, "sightline.gate", LEFT, 3)
    await next_look(clock, ABSENT_SECONDS + WATCH_SECONDS)
    old, own = health.warnings
    assert "group old.decode has no worker, is not of this plan, and holds 5 records, the oldest for 24 h" in old
    assert "run `sightline groups give-up old.decode`" in old
    assert "group sightline.decode of this plan has no worker and 4 records" in own
    assert registry.get_sample_value("sightline_absent_group_records", {"group": "old.decode"}) == 5
    assert registry.get_sample_value("sightline_left_over_records", {"topic": LEFT}) is None

    await transport.forget("old.decode")
    consumer = await transport.consumer("sightline.decode", [topics.RAW], RecordingListener())
    await consumer.poll(1, 0.0)
    await next_look(clock, WATCH_SECONDS)
    assert health.warnings == [], "it has a worker"
    await consumer.close()
    watching.cancel()


async def next_look(clock: ManualClock, seconds: float) -> None:
    clock.advance(seconds)
    await until(lambda: not clock.sleepers)
    await until(lambda: clock.sleepers)


async def test_a_plan_whose_worker_never_came_is_named(transport: SqliteTransport) -> None:
    clock, registry = ManualClock(time.time() + 2 * ABSENT_SECONDS), CollectorRegistry()
    health = Health(clock, 60)
    await transport.publish(values(topics.RAW, "a", range(6)))
    watching = asyncio.create_task(
        UnfinishedWatch(transport, clock, ProcessMetrics(registry), health).run(PLAN, "sightline")
    )
    await until(lambda: clock.sleepers)
    (line,) = health.warnings
    assert "group sightline.decode of this plan has no worker and 6 records, the oldest for 48 h to do" in line
    watching.cancel()
