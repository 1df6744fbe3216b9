"""Transactional delivery: a reader of committed records sees each event once, whatever is killed or suspended.

Workers are hit at three points of a transaction: before anything is written, when all is written and not committed, and
right after the commit, of which they then do not know. A suspended worker goes on after another one has taken over its
partitions.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from itertools import product
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import get_args

import pytest
from aiokafka import AIOKafkaConsumer

from deploy.local.cluster import Cluster
from schemas import topics
from streams.kafka.conversion import to_aiokafka
from streams.topic_reader import read_topic
from tests.kafka.conftest import delete_topics
from tests.kafka.worker_process import FaultPoint, arm_fault, deployed, start
from tests.support.deployment import Deployment, declared, fated, until
from tests.support.edge_folder import edge_folder

POINTS: tuple[FaultPoint, ...] = get_args(FaultPoint)
REPETITIONS = 10 if os.environ.get("LONG") == "1" else 1
FAULTS = [*product(POINTS, (signal.SIGKILL, signal.SIGSTOP))] * REPETITIONS
FRAMES_PER_ROUND = 60
WORKERS = 2


def url(cluster: Cluster) -> str:
    """A member expires after two seconds."""
    return f"kafka://{cluster.bootstrap}?session_seconds=2&drain_seconds=5&request_seconds=10&delivery=transactional"


class Workers:
    """Worker processes on the broker."""

    def __init__(self, cluster: Cluster, here: Deployment) -> None:
        self._url, self._here = url(cluster), here
        self._running = [self._start() for _ in range(WORKERS)]

    def _start(self) -> BaseProcess:
        return start(self._url, self._here.folder, self._here.index_folder)

    async def hit(self, point: FaultPoint, how: signal.Signals) -> BaseProcess:
        """The first worker at this point gets the signal; a killed one is replaced."""
        arm_fault(self._here.folder, point, how)
        await until(lambda: [*self._here.folder.glob("taken-by-*")], seconds=60)
        (taken,) = self._here.folder.glob("taken-by-*")
        taken.unlink()
        (hit,) = (process for process in self._running if taken.name == f"taken-by-{process.pid}")
        if how is signal.SIGKILL:
            hit.join()
            self._running[self._running.index(hit)] = self._start()
        return hit

    def stop(self) -> list[int | None]:
        for process in self._running:
            process.terminate()
        for process in self._running:
            process.join(30)
        return [process.exitcode for process in self._running]


@pytest.fixture
async def here(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Deployment]:
    with edge_folder(tmp_path / "index") as index:
        async with deployed(url(cluster), tmp_path, index) as deployment:
            await delete_topics(deployment.transport)
            await deployment.transport.create(declared())
            yield deployment


class Feed:
    """Frames of which every twentieth is refused."""

    def __init__(self, here: Deployment) -> None:
        self._here, self.published = here, 0

    async def go_on(self) -> None:
        numbers = range(self.published, self.published + FRAMES_PER_ROUND)
        await self._here.publish([fated("invalid" if number % 20 == 7 else "ok", number=number) for number in numbers])
        self.published += FRAMES_PER_ROUND


async def seen(here: Deployment, topic: str) -> Counter[bytes]:
    """How often a reader of committed records sees each event."""
    return Counter([record.headers["ce_id"] async for record in read_topic(here.transport, topic)])


async def written(cluster: Cluster, here: Deployment, topic: str) -> int:
    """Records on a topic, those of aborted transactions too."""
    reader = AIOKafkaConsumer(bootstrap_servers=cluster.bootstrap, auto_offset_reset="earliest")
    await reader.start()
    reader.assign([to_aiokafka(partition) for partition in await here.transport.ends(topic)])
    count, ends = 0, await reader.end_offsets(reader.assignment())
    while any([await reader.position(place) < end for place, end in ends.items()]):
        count += sum(map(len, (await reader.getmany(timeout_ms=100)).values()))
    await reader.stop()
    return count


@pytest.mark.timeout(120 + 30 * len(FAULTS))
async def test_each_event_is_seen_once_through_kills_and_zombies(
    cluster: Cluster, here: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    workers, feed = Workers(cluster, here), Feed(here)
    try:
        for point, how in FAULTS:
            await feed.go_on()
            hit = await workers.hit(point, how)
            if how is signal.SIGSTOP:
                await until(here.drained, seconds=60)
                await feed.go_on()
                assert hit.pid
                os.kill(hit.pid, signal.SIGCONT)
        await until(here.drained, seconds=120)
    finally:
        exits = workers.stop()
    enriched, dead = await seen(here, topics.ENRICHED), await seen(here, topics.DEAD)
    events, all_written = (
        enriched + dead,
        [await written(cluster, here, topic) for topic in (topics.ENRICHED, topics.DEAD)],
    )
    findings = await here.findings()
    with capsys.disabled():
        print(
            f"\nKafka {cluster.version}, {len(FAULTS) // 2} kills and {len(FAULTS) // 2} zombies:"
            f" {findings.accepted} accepted, {len(enriched)} enriched, {len(dead)} dead,"
            f" {events.total() - len(events)} seen again, {sum(all_written) - events.total()} aborted and never seen"
        )
    assert exits == [0] * WORKERS
    assert findings.kept, findings
    assert findings.accepted == feed.published == len(enriched) + len(dead)
    assert set(events.values()) == {1}
    assert sum(all_written) > events.total(), "no transaction was aborted: the faults missed their points"
