"""The Faust app on a real broker: killed twenty times, a broker that restarts, and counts that are the truth."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from deploy.local.cluster import VERSION, Cluster, free_port
from schemas.topics import declared
from streams.analytics.faust_app import changelog
from streams.analytics.settings import AnalyticsSettings
from streams.kafka.transport import KafkaTransport
from streams.transport import NewRecord, TopicSpec
from tests.kafka.conftest import ASKED_A_SECOND, ASKED_IN_VAIN, AWAY_SECONDS, own_broker
from tests.support.observed import observed, record

KILLS = 20
EVENTS = 10_000
PARTITIONS = 4
FEEDS = ("a", "b", "c", "d", "e", "f")
SLICE = 11 * EVENTS // 10 // KILLS
"""Records published before each kill: more than are waited for, so that the kill comes in their midst."""
LABELS = ("circle", "square", "star")
DEADLINE_SECONDS = 120.0


def events() -> list[NewRecord]:
    """Three detections here and there, some dead; one in ten is published twice."""
    made = []
    for number in range(EVENTS):
        state: Any = "dead" if number % 97 == 5 else "enriched"
        labels = {} if state == "dead" else {LABELS[number % 3]: 1 + number % 2}
        made.append(record(observed(number, number / 50, feed=FEEDS[number % 6], state=state, labels=labels)))
    return [one for number, one in enumerate(made) for _ in range(1 + (number % 10 == 0))]


def truth() -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for number in range(EVENTS):
        feed = FEEDS[number % 6]
        found[feed, "dead" if number % 97 == 5 else "frames"] += 1
        if number % 97 != 5:
            found[feed, LABELS[number % 3]] += 1 + number % 2
    return found


@contextmanager
def started(command: list[str], output: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Killed in the end, wherever it is."""
    with output.open("ab") as told:
        process = subprocess.Popen(command, stdout=told, stderr=told, cwd=Path(__file__).parents[2])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def analytics(cluster: Cluster, folder: Path, port: int) -> AbstractContextManager[subprocess.Popen[bytes]]:
    url = f"kafka://{cluster.bootstrap}?session_seconds=6"
    module = "tests.kafka.analytics_process"
    return started([sys.executable, "-m", module, url, str(port), str(folder)], folder / "analytics.txt")


def typed(cluster: Cluster, folder: Path, port: int) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """The command as a person starts it."""
    keys = {"transport": f"kafka://{cluster.bootstrap}", "partitions": str(PARTITIONS), "analytics.port": str(port)}
    settings = [part for key, value in keys.items() for part in ("--set", f"{key}={value}")]
    program = str(Path(sys.executable).with_name("sightline"))
    return started([program, "analytics", "--data", str(folder), *settings], folder / "analytics.txt")


def windows(port: int) -> list[dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/windows", timeout=5) as answer:
            return list(json.load(answer))
    except OSError:
        return []


def counted(shown: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for window in shown:
        for name, count in {"frames": window["frames"], "dead": window["dead"], **window["labels"]}.items():
            found[window["feed"], name] += count
    return +found


@asynccontextmanager
async def opened(cluster: Cluster) -> AsyncIterator[KafkaTransport]:
    transport = KafkaTransport.from_url(f"kafka://{cluster.bootstrap}")
    await transport.open()
    try:
        yield transport
    finally:
        await transport.close()


async def written(transport: KafkaTransport) -> int:
    """Records of the changelog: how far the counting is, as far as a crash cannot take it back."""
    ends = await transport.ends("sightline-analytics-windows-changelog")
    return sum(end for _, end in ends.values())


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[Cluster]:
    with own_broker(tmp_path / "kafka", VERSION) as cluster:
        yield cluster


async def make_topics(transport: KafkaTransport) -> None:
    own = changelog(AnalyticsSettings(), PARTITIONS)
    specs = [
        TopicSpec(
            topic.name,
            topic.partitions,
            compacted=topic.compacted,
            retention_seconds=topic.retention_seconds,
            max_record_bytes=topic.max_record_bytes,
        )
        for topic in declared(partitions=PARTITIONS)
    ]
    await transport.create([*specs, own])


async def a_moment(process: subprocess.Popen[bytes], folder: Path) -> None:
    assert process.poll() is None, (folder / "analytics.txt").read_text()[-3000:]
    await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=0.1)


@pytest.mark.timeout(900)
async def test_ten_thousand_events_through_twenty_kills_and_a_broker_restart(
    own_cluster: Cluster, tmp_path: Path
) -> None:
    """Each kill comes when some more writes of the table are durable, and offsets perhaps not yet."""
    port, made = free_port(), events()
    async with opened(own_cluster) as transport:
        await make_topics(transport)
        for kill in range(KILLS):
            before = await written(transport)
            await transport.publish(made[kill * SLICE : (kill + 1) * SLICE])
            with analytics(own_cluster, tmp_path, port) as process:
                async with asyncio.timeout(DEADLINE_SECONDS):
                    while await written(transport) < before + 40 + 20 * kill:
                        await a_moment(process, tmp_path)
        with analytics(own_cluster, tmp_path, port) as process:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while (found := counted(windows(port))) != truth():
                    assert not found - truth(), f"counted too often: {found - truth()}"
                    await a_moment(process, tmp_path)
            own_cluster.nodes[0].kill()
            await asyncio.to_thread(own_cluster.start)
            await transport.publish([record(observed(EVENTS, 10, feed="after"))])
            async with asyncio.timeout(DEADLINE_SECONDS):
                while (found := counted(windows(port)))["after", "frames"] != 1:
                    await a_moment(process, tmp_path)
            assert found - truth() == Counter({("after", "frames"): 1})
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 30) == 0


async def test_the_command_counts_and_serves(own_cluster: Cluster, tmp_path: Path) -> None:
    port = free_port()
    with typed(own_cluster, tmp_path, port) as process:
        async with opened(own_cluster) as transport, asyncio.timeout(DEADLINE_SECONDS):
            while "frames.observed" not in await transport.topics():
                await a_moment(process, tmp_path)
            await transport.publish([record(observed(number, 1.0)) for number in range(5)])
            while counted(windows(port))["lobby", "frames"] != 5:
                await a_moment(process, tmp_path)


async def test_a_broker_that_went_down_in_peace_is_asked_with_pauses(own_cluster: Cluster, tmp_path: Path) -> None:
    """With a changelog to write: Faust's producer by itself takes a core to ask who leads it."""
    port, told = free_port(), tmp_path / "analytics.txt"

    async def load(transport: KafkaTransport) -> None:
        for one in events():
            await transport.publish([one])

    with analytics(own_cluster, tmp_path, port) as process:
        async with opened(own_cluster) as transport:
            await make_topics(transport)
            publishing = asyncio.create_task(load(transport))
            async with asyncio.timeout(DEADLINE_SECONDS):
                while await written(transport) < 100:
                    await a_moment(process, tmp_path)
            await asyncio.to_thread(own_cluster.stop)
            publishing.cancel()
            before = told.read_text().count(ASKED_IN_VAIN)
            await asyncio.sleep(AWAY_SECONDS)
            asked = told.read_text().count(ASKED_IN_VAIN) - before
            assert 0 < asked < ASKED_A_SECOND * AWAY_SECONDS
            await asyncio.to_thread(own_cluster.start)
