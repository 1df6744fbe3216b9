"""The Faust app on a real broker: killed twenty times, with a broker that restarts, its counts are right."""

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

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from deploy.local.cluster import VERSION, Cluster, free_port
from schemas.topics import declared
from streams.analytics.faust_app import changelog
from streams.analytics.settings import AnalyticsSettings
from streams.kafka.transport import KafkaTransport
from streams.transport import NewRecord, TopicSpec
from tests.kafka.conftest import AWAY_SECONDS, FAILED_REQUEST, MAX_REQUESTS_PER_SECOND, own_broker
from tests.support.kafka_batches import PACK, RawBatch, batch_with_name, with_checksum
from tests.support.observed import observed, record

KILLS = 20
EVENTS = 10_000
PARTITIONS = 4
FEEDS = ("a", "b", "c", "d", "e", "f")
SLICE = 11 * EVENTS // 10 // KILLS
"""Records published before each kill: more than are waited for, so that the kill interrupts their processing."""
LABELS = ("circle", "square", "star")
DEADLINE_SECONDS = 120.0


def events() -> list[NewRecord]:
    """Frames with one or two detections of three labels, some dead; one in ten is published twice."""
    made = []
    for number in range(EVENTS):
        state: Any = "dead" if number % 97 == 5 else "enriched"
        labels = {} if state == "dead" else {LABELS[number % 3]: 1 + number % 2}
        made.append(record(observed(number, number / 50, feed=FEEDS[number % 6], state=state, labels=labels)))
    return [event for number, event in enumerate(made) for _ in range(1 + (number % 10 == 0))]


def expected_counts() -> Counter[tuple[str, str]]:
    counts: Counter[tuple[str, str]] = Counter()
    for number in range(EVENTS):
        feed = FEEDS[number % 6]
        counts[feed, "dead" if number % 97 == 5 else "frames"] += 1
        if number % 97 != 5:
            counts[feed, LABELS[number % 3]] += 1 + number % 2
    return counts


@contextmanager
def started(command: list[str], output: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command; it is killed afterwards."""
    with output.open("ab") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, cwd=Path(__file__).parents[2])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def analytics(cluster: Cluster, folder: Path, port: int) -> AbstractContextManager[subprocess.Popen[bytes]]:
    url = f"kafka://{cluster.bootstrap}?session_seconds=6"
    module = "tests.kafka.analytics_process"
    return started([sys.executable, "-m", module, url, str(port), str(folder)], folder / "analytics.txt")


def command(
    cluster: Cluster, folder: Path, port: int, namespace: str
) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """The command as a user starts it."""
    keys = {"transport": f"kafka://{cluster.bootstrap}", "partitions": str(PARTITIONS), "analytics.port": str(port)}
    keys["namespace"] = namespace
    settings = [part for key, value in keys.items() for part in ("--set", f"{key}={value}")]
    program = str(Path(sys.executable).with_name("sightline"))
    return started([program, "analytics", "--data", str(folder), *settings], folder / "analytics.txt")


def windows(port: int) -> list[dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/windows", timeout=5) as answer:
            return list(json.load(answer))
    except OSError:
        return []


def counts_of(windows: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
    counts: Counter[tuple[str, str]] = Counter()
    for window in windows:
        for name, count in {"frames": window["frames"], "dead": window["dead"], **window["labels"]}.items():
            counts[window["feed"], name] += count
    return +counts


@asynccontextmanager
async def opened(cluster: Cluster) -> AsyncIterator[KafkaTransport]:
    transport = KafkaTransport.from_url(f"kafka://{cluster.bootstrap}")
    await transport.open()
    try:
        yield transport
    finally:
        await transport.close()


async def written(transport: KafkaTransport) -> int:
    """Records of the changelog: the progress that a crash cannot undo."""
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


async def pause(process: subprocess.Popen[bytes], folder: Path) -> None:
    assert process.poll() is None, (folder / "analytics.txt").read_text()[-3000:]
    await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=0.1)


@pytest.mark.timeout(900)
async def test_ten_thousand_events_through_twenty_kills_and_a_broker_restart(
    own_cluster: Cluster, tmp_path: Path
) -> None:
    """Each kill comes when more of the table's writes are durable, and their offsets perhaps not yet."""
    port, made = free_port(), events()
    async with opened(own_cluster) as transport:
        await make_topics(transport)
        for kill in range(KILLS):
            before = await written(transport)
            await transport.publish(made[kill * SLICE : (kill + 1) * SLICE])
            with analytics(own_cluster, tmp_path, port) as process:
                async with asyncio.timeout(DEADLINE_SECONDS):
                    while await written(transport) < before + 40 + 20 * kill:
                        await pause(process, tmp_path)
        with analytics(own_cluster, tmp_path, port) as process:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while (counts := counts_of(windows(port))) != expected_counts():
                    assert not counts - expected_counts(), f"counted too often: {counts - expected_counts()}"
                    await pause(process, tmp_path)
            own_cluster.nodes[0].kill()
            await asyncio.to_thread(own_cluster.start)
            await transport.publish([record(observed(EVENTS, 10, feed="after"))])
            async with asyncio.timeout(DEADLINE_SECONDS):
                while (counts := counts_of(windows(port)))["after", "frames"] != 1:
                    await pause(process, tmp_path)
            assert counts - expected_counts() == Counter({("after", "frames"): 1})
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 30) == 0


async def send_foreign(cluster: Cluster, topic: str) -> None:
    """Records of another program, compressed in every way, with a header name that is not UTF-8 and nulls."""
    async with AIOKafkaProducer(bootstrap_servers=cluster.bootstrap) as producer:
        for compression in PACK:
            for partition in range(PARTITIONS):
                content = with_checksum(batch_with_name(b"na\xefve", compression))
                await (await producer.send_batch(RawBatch(content, 2), topic, partition=partition))


@pytest.mark.parametrize("namespace", ["", "harbor"])
async def test_the_command_counts_and_serves_whatever_else_is_on_the_topic(
    own_cluster: Cluster, tmp_path: Path, namespace: str
) -> None:
    port = free_port()
    topic = f"{namespace}.frames.observed".lstrip(".")
    with command(own_cluster, tmp_path, port, namespace) as process:
        async with opened(own_cluster) as transport, asyncio.timeout(DEADLINE_SECONDS):
            while topic not in await transport.topics():
                await pause(process, tmp_path)
            await send_foreign(own_cluster, topic)
            made = [record(observed(number, 1.0)) for number in range(5)]
            await transport.publish([msgspec.structs.replace(one, topic=topic) for one in made])
            while counts_of(windows(port))["lobby", "frames"] != 5:
                await pause(process, tmp_path)


async def test_metadata_requests_are_limited_while_a_broker_is_shut_down(own_cluster: Cluster, tmp_path: Path) -> None:
    """There is a changelog to write: without the limit Faust's producer takes a core for metadata requests."""
    port, output = free_port(), tmp_path / "analytics.txt"

    async def load(transport: KafkaTransport) -> None:
        for event in events():
            await transport.publish([event])

    with analytics(own_cluster, tmp_path, port) as process:
        async with opened(own_cluster) as transport:
            await make_topics(transport)
            publishing = asyncio.create_task(load(transport))
            async with asyncio.timeout(DEADLINE_SECONDS):
                while await written(transport) < 100:
                    await pause(process, tmp_path)
            await asyncio.to_thread(own_cluster.stop)
            publishing.cancel()
            before = output.read_text().count(FAILED_REQUEST)
            await asyncio.sleep(AWAY_SECONDS)
            requests = output.read_text().count(FAILED_REQUEST) - before
            assert 0 < requests < MAX_REQUESTS_PER_SECOND * AWAY_SECONDS
            await asyncio.to_thread(own_cluster.start)
