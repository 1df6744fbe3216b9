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
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from deploy.local.cluster import Cluster, free_port
from schemas.topics import declared
from streams.errors import PlanError
from streams.kafka.transport import KafkaTransport
from streams.transport import Outgoing, TopicSpec
from tests.observed import observed, record

KILLS = 20
EVENTS = 10_000
PARTITIONS = 4
FEEDS = ("a", "b", "c", "d", "e", "f")
LABELS = ("circle", "square", "star")
DEADLINE_SECONDS = 120.0


def events() -> list[Outgoing]:
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
def analytics(cluster: Cluster, folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The command as a person starts it."""
    keys = {
        "transport": f"kafka://{cluster.bootstrap}?session_seconds=6",
        "partitions": str(PARTITIONS),
        "analytics.port": str(port),
        "analytics.instance": "one",
    }
    settings = [part for key, value in keys.items() for part in ("--set", f"{key}={value}")]
    with (folder / "analytics.txt").open("ab") as output:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("sightline")), "analytics", "--data", str(folder), *settings],
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


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
    try:
        ends = await transport.ends("sightline-analytics-windows-changelog")
    except PlanError:  # not made yet
        return 0
    return sum(end for _, end in ends.values())


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path / "kafka")
    cluster.start()
    yield cluster
    cluster.stop()


@pytest.mark.timeout(900)
async def test_ten_thousand_events_through_twenty_kills_and_a_broker_restart(
    own_cluster: Cluster, tmp_path: Path
) -> None:
    port = free_port()
    async with opened(own_cluster) as transport:
        await transport.create(
            [
                TopicSpec(
                    topic.name,
                    topic.partitions,
                    compacted=topic.compacted,
                    retention_seconds=topic.retention_seconds,
                    max_record_bytes=topic.max_record_bytes,
                )
                for topic in declared(partitions=PARTITIONS)
            ]
        )
        made = events()
        for first in range(0, len(made), 500):
            await transport.publish(made[first : first + 500])
        for kill in range(KILLS):
            before = await written(transport)
            with analytics(own_cluster, tmp_path, port) as process:
                async with asyncio.timeout(DEADLINE_SECONDS):
                    while await written(transport) < before + 400 + 37 * kill and counted(windows(port)) != truth():
                        assert process.poll() is None, (tmp_path / "analytics.txt").read_text()[-3000:]
                        await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=0.05)
        with analytics(own_cluster, tmp_path, port) as process:
            await _until_true(port, process, tmp_path)
            own_cluster.nodes[0].kill()
            await asyncio.to_thread(own_cluster.start)
            await transport.publish([record(observed(EVENTS, 10, feed="after"))])
            async with asyncio.timeout(DEADLINE_SECONDS):
                while not any(window["feed"] == "after" for window in windows(port)):
                    await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=0.2)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 30) == 0


async def _until_true(port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while (found := counted(windows(port))) != truth():
            assert not found - truth(), f"counted too often: {found - truth()}"
            assert process.poll() is None, (folder / "analytics.txt").read_text()[-3000:]
            await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=0.2)
