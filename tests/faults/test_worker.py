"""A worker's life: it waits out outages, gives up what is revoked, and finishes what it has begun."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import aiohttp
import msgspec
import pytest

from processors.frame import Frame, Verdicts
from schemas import cloudevents, codec, topics
from schemas.events import FrameEvent
from schemas.identity import partition_of
from stores.edge.client import EdgeIndex
from stores.errors import StoreUnavailable
from stores.index import Point
from stores.open import open_index
from streams.clock import ManualClock
from streams.errors import Fenced
from streams.readiness.monitor import Monitor
from streams.readiness.probes import ANSWER_SECONDS
from streams.sqlite.consumer import SqliteConsumer
from streams.sqlite.transport import SqliteTransport
from streams.topic_reader import read_topic
from streams.transport import Listener, NewRecord, Partition, Position
from tests.contract.transport_member import Silent
from tests.support.deployment import (
    FRAMES,
    PARTITIONS,
    PICTURE,
    QUICK,
    Deployment,
    deployed,
    fated,
    identity,
    running,
    until,
)
from tests.support.edge_folder import edge_folder, process_id
from tests.support.events import frame_event
from tests.support.fault_stages import Count, Fate, Vectors, commented
from tests.support.pictures import START

OTHERS = [fated("ok", number=number) for number in range(40)]
AWAY = "away for a while"


@pytest.fixture
async def deployment(tmp_path: Path, index_folder: Path) -> AsyncIterator[Deployment]:
    async with deployed(tmp_path, index_folder=index_folder) as deployment:
        yield deployment


class FickleIndex(EdgeIndex):
    """The embedded index behind a line that is cut while `away`."""

    away = True

    async def upsert(self, collection: str, points: Sequence[Point]) -> None:
        if self.away:
            raise StoreUnavailable(AWAY)
        await super().upsert(collection, points)


class OutrunMember:
    """A member whose group has gone on without it: its first commit is what says so."""

    def __init__(self, inner: SqliteConsumer) -> None:
        self._inner, self._was_told = inner, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def commit(self, positions: Mapping[Partition, Position], epochs: Mapping[Partition, int]) -> None:
        if not self._was_told:
            self._was_told = True
            raise Fenced("the group has gone on without this member")
        await self._inner.commit(positions, epochs)


class Outrun(SqliteTransport):
    """Writes outputs one by one, as Kafka does, for such a member."""

    atomic = False

    async def consumer(self, group: str, topics: Sequence[str], listener: Listener) -> SqliteConsumer:
        return cast("SqliteConsumer", OutrunMember(await super().consumer(group, topics, listener)))


class Closed(Fate):
    """Holds its calls until the test lets them go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.gate = threading.Event(), threading.Event()

    def process(self, frames: Sequence[Frame]) -> Verdicts:
        self.entered.set()
        assert self.gate.wait(30)
        return super().process(frames)


def by_reference(number: int) -> tuple[NewRecord, FrameEvent, bytes]:
    """An event on `frames.raw` whose original is a blob, and that original."""
    content = commented(PICTURE, f"ok#{number}")
    event = frame_event(f"test:{number}", content, kind="still", ingested=START, inline=False)
    headers = cloudevents.frame_headers(event, cloudevents.RAW_TYPE)
    return NewRecord(topics.RAW, event.id.encode(), codec.encode_frame(event), headers), event, content


async def get(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.text()


async def test_while_the_index_is_away_the_worker_waits_and_says_so(deployment: Deployment) -> None:
    index = FickleIndex(deployment.index_folder)
    deployment.index = index
    await deployment.publish(OTHERS)
    worker = deployment.worker([Fate(), Vectors()])
    listener = socket.create_server(("127.0.0.1", 0))
    async with Monitor(worker.health, deployment.metrics.registry, listener) as monitor:
        assert (await get(f"{monitor.url}/readyz"))[1] == "models are not warm yet\n"
        async with running(worker) as task:
            await until(lambda: worker.health.waits, task)
            assert await get(f"{monitor.url}/readyz") == (503, f"waits for index: {AWAY}\n")
            assert (await get(f"{monitor.url}/healthz"))[0] == 200
            assert not await deployment.drained()
            index.away = False
            await until(deployment.drained, task)
            assert await get(f"{monitor.url}/readyz") == (200, "ready\n")
            assert 'sightline_retries_total{what="index"}' in (await get(f"{monitor.url}/metrics"))[1]
    findings = await deployment.findings()
    assert findings.kept, findings
    assert findings.enriched == len(OTHERS)
    await index.close()


async def test_an_idle_worker_is_not_ready_while_the_index_hangs(tmp_path: Path) -> None:
    with edge_folder(tmp_path / "index") as folder:
        async with deployed(tmp_path, index_folder=folder) as here:
            worker = here.worker([Fate(), Vectors()])
            async with running(worker) as task:
                await until(lambda: not worker.health.unready_reasons(), task)
                os.kill(process_id(folder), signal.SIGSTOP)
                try:
                    await until(worker.health.unready_reasons, task, seconds=30)
                    assert worker.health.unready_reasons() == [f"waits for index: no answer in {ANSWER_SECONDS:g} s"]
                finally:
                    os.kill(process_id(folder), signal.SIGCONT)
                await until(lambda: not worker.health.unready_reasons(), task)


async def test_a_stop_while_the_index_is_away_at_start_takes_effect_at_once(deployment: Deployment) -> None:
    await deployment.publish(OTHERS)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        index = open_index(f"http://127.0.0.1:{closed.getsockname()[1]}")
        worker = replace(deployment, index=index).worker([Fate(), Vectors()])  # type: ignore[arg-type]
        task = asyncio.create_task(worker.run())
        await until(lambda: "index" in worker.health.waits, task)
        worker.stop()
        await asyncio.wait_for(task, 10)
        await index.close()
    assert worker.end == "not_begun"
    assert not worker.health.waits


async def test_a_stop_finishes_what_was_begun_and_leaves_the_rest(deployment: Deployment) -> None:
    """Nothing is lost, nothing is done twice, and the position left behind says that the start was no crash."""
    await deployment.publish(OTHERS)
    stage = Closed()
    worker = deployment.worker([stage, Vectors()], settings=msgspec.structs.replace(QUICK, batch_frames=4))
    task = asyncio.create_task(worker.run())
    await until(stage.entered.is_set, task)
    worker.stop()
    stage.gate.set()
    await asyncio.wait_for(task, 30)
    assert worker.end == "committed"
    enriched = await deployment.enriched()
    assert 0 < len(enriched) < len(OTHERS)
    async with running(deployment.worker([Fate(), Vectors()])) as task:
        await until(deployment.drained, task)
    findings = await deployment.findings()
    assert findings.kept, findings
    assert (findings.enriched, findings.repeated) == (len(OTHERS), 0)


async def test_on_a_cpu_a_batch_runs_through_before_the_next_begins(deployment: Deployment) -> None:
    await deployment.publish(OTHERS)
    calls: list[str] = []

    class First(Fate):
        def process(self, frames: Sequence[Frame]) -> Verdicts:
            calls.append("first")
            return super().process(frames)

    class Then(Vectors):
        def process(self, frames: Sequence[Frame]) -> Verdicts:
            calls.append("then")
            return super().process(frames)

    settings = msgspec.structs.replace(QUICK, device="cpu", batch_frames=4)
    async with running(deployment.worker([First(), Then()], settings=settings)) as task:
        await until(deployment.drained, task)
    assert calls == ["first", "then"] * (len(calls) // 2)
    assert len(calls) >= 2 * len(OTHERS) // 4


async def test_the_drain_has_one_deadline(deployment: Deployment) -> None:
    """A stage that hangs does not keep a worker from leaving; its frames come again."""
    await deployment.publish(OTHERS)
    stage = Closed()
    worker = deployment.worker([stage, Vectors()], settings=msgspec.structs.replace(QUICK, drain_seconds=0.3))
    task = asyncio.create_task(worker.run())
    await until(stage.entered.is_set, task)
    worker.stop()
    try:
        await asyncio.wait_for(task, 10)
    finally:
        stage.gate.set()
    assert worker.end == "unfinished"
    assert not await deployment.enriched()
    async with running(deployment.worker([Fate(), Vectors()])) as task:
        await until(deployment.drained, task)
    assert (await deployment.findings()).kept


async def test_two_workers_share_and_hand_over(deployment: Deployment) -> None:
    """A second worker joins under load, the first leaves: every frame once, each feed in order."""
    sent = [
        fated("ok", feed=feed, kind="frame", number=number) for number in range(60) for feed in ("a", "b", "c", "d")
    ]
    await deployment.publish(sent[:120])
    first, second = (deployment.worker([Fate(), Count(), Vectors()]) for _ in range(2))
    async with running(second):
        async with running(first) as task:
            await until(lambda: len(deployment.transport._consumers) == 2, task)
            await deployment.publish(sent[120:])
            await until(deployment.enriched, task)
        await until(deployment.drained)
    findings = await deployment.findings()
    assert findings.kept, findings
    assert (findings.enriched, findings.repeated) == (len(sent), 0)


async def test_a_refused_mark_takes_along_what_would_overtake_the_frames_it_dropped(deployment: Deployment) -> None:
    """The member is told of its assignment's end later; until then the rest of the feed must not be published."""
    frames = [fated("ok", kind="frame", number=number) for number in range(12)]
    await deployment.publish(frames)
    outrun = Outrun(deployment.folder / "log.sqlite")
    await outrun.open()
    settings = msgspec.structs.replace(QUICK, batch_frames=2)
    async with running(replace(deployment, transport=outrun).worker([Fate(), Vectors()], settings=settings)) as task:

        async def all_seen() -> bool:
            dropped = deployment.metrics.registry.get_sample_value("sightline_late_completions_total") or 0
            return dropped + len(await deployment.enriched()) == len(frames)

        await until(all_seen, task)
        assert not await deployment.enriched()
    await outrun.close()
    async with running(deployment.worker([Fate(), Vectors()], settings=settings)) as task:
        await until(deployment.drained, task)
    assert [
        record.headers["ce_subject"].decode() async for record in read_topic(deployment.transport, topics.ENRICHED)
    ] == [identity(frame) for frame in frames]


async def test_a_foreign_picture_has_its_blob_before_the_first_stage(deployment: Deployment) -> None:
    await deployment.publish(OTHERS[:1])
    async with running(deployment.worker([Fate(), Vectors()])) as task:
        await until(deployment.drained, task)
    event = (await deployment.enriched())[identity(OTHERS[0])]
    assert await deployment.blobs.get("default", event.image.uri) == OTHERS[0].value


async def test_an_original_that_is_not_inline_is_fetched(deployment: Deployment) -> None:
    record, event, content = by_reference(1)
    await deployment.blobs.put("default", event.image.uri, content)
    await deployment.publish([record])
    async with running(deployment.worker([Fate(), Vectors()])) as task:
        await until(deployment.drained, task)
    assert [label.name for label in (await deployment.enriched())[event.id].labels] == ["ok"]


async def test_an_original_that_comes_late_is_waited_for_while_others_go_on(deployment: Deployment) -> None:
    record, event, content = by_reference(2)
    await deployment.publish([record, *OTHERS])
    async with running(deployment.worker([Fate(), Vectors()])) as task:
        await until(lambda: enriched_count(deployment, len(OTHERS) - 20), task)
        assert not await deployment.letters()
        await deployment.blobs.put("default", event.image.uri, content)
        await until(deployment.drained, task)
    assert event.id in await deployment.enriched()


async def test_a_suspect_does_not_pass_one_that_waits_for_its_original(deployment: Deployment) -> None:
    """A suspect is marked at its own offset; one that is not finished would be lost with the next crash."""
    record, event, content = by_reference(4)
    behind = next(one for one in map(suspect, range(99)) if same_partition(one, record))
    await deployment.publish([record, behind])
    (partition,) = [where for where, (_, end) in (await deployment.transport.ends(topics.RAW)).items() if end]
    consumer = await deployment.transport.consumer("sightline.fate", [topics.RAW], Silent())
    await consumer.poll(1, 5.0)
    await consumer.commit({partition: Position(0, attempts=QUICK.isolate_after)}, consumer.assignment())
    await consumer.close()
    stage = Fate()
    async with running(deployment.worker([stage, Vectors()])) as task:
        await until(lambda: missed(deployment) >= 3, task)
        assert not stage.calls
        await deployment.blobs.put("default", event.image.uri, content)
        await until(deployment.drained, task)
    assert (await deployment.enriched()).keys() == {event.id, identity(behind)}


def suspect(number: int) -> NewRecord:
    return fated("ok", number=1000 + number)


def same_partition(one: NewRecord, other: NewRecord) -> bool:
    return partition_of(one.key, PARTITIONS) == partition_of(other.key, PARTITIONS)


async def test_an_original_that_stays_away_makes_a_dead_letter(deployment: Deployment) -> None:
    record, event, _ = by_reference(3)
    await deployment.publish([record])
    clock = ManualClock()
    async with running(deployment.worker([Fate(), Vectors()], clock=clock)) as task:
        await until(lambda: after(clock, 1.0) and missed(deployment) >= 3, task)
        assert clock.monotonic() < QUICK.absent_seconds
        assert not await deployment.letters()
        clock.advance(QUICK.absent_seconds)
        await until(lambda: after(clock, 1.0) and deployment.letters(), task)
    assert (await deployment.letters())[event.id].reason == "absent_original"


def after(clock: ManualClock, seconds: float) -> bool:
    """Let time pass; true, so that a condition may begin with it."""
    clock.advance(seconds)
    return True


def missed(deployment: Deployment) -> float:
    return deployment.metrics.registry.get_sample_value("sightline_retries_total", {"what": "absent_original"}) or 0


async def enriched_count(deployment: Deployment, least: int) -> bool:
    return len(await deployment.enriched()) >= least


async def test_points_are_gone_when_a_repeated_frame_has_none(deployment: Deployment) -> None:
    """First enriched, then led through a plan that embeds nothing: what the last event says counts."""
    await deployment.publish(OTHERS[:1])
    async with running(deployment.worker([Fate(), Vectors()])) as task:
        await until(deployment.drained, task)
    assert await deployment.index.count(FRAMES) == 1
    again = NewRecord(
        OTHERS[0].topic, OTHERS[0].key, OTHERS[0].value, {**OTHERS[0].headers, "sightline_replayed": b"1"}
    )
    await deployment.publish([again])
    async with running(deployment.worker([Fate()])) as task:
        await until(deployment.drained, task)
    assert await deployment.index.count(FRAMES) == 0
