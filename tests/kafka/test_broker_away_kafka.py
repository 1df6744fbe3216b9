"""While the broker is away, clients are idle and say so: aiokafka without limits takes a core and fills the log."""

from __future__ import annotations

import asyncio
import logging
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local.cluster import VERSION
from streams.errors import Unavailable
from streams.kafka.transport import KafkaTransport
from streams.transport import TopicSpec
from tests.contract.transport_suite import RecordingListener, values
from tests.kafka.conftest import AWAY_SECONDS, FAILED_REQUEST, MAX_REQUESTS_PER_SECOND, own_broker
from tests.support.deployment import until

REQUEST_SECONDS = 15.0
START_SECONDS = 100.0
MAX_LINES = 40
"""Each kind of message once: some two dozen. Without the limit it is hundreds a second."""


async def test_metadata_requests_are_limited_while_a_broker_is_shut_down(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Under load, so that the producer learns that its partition has no leader before the broker stops answering."""
    with own_broker(tmp_path, VERSION) as cluster:
        transport = KafkaTransport.from_url(f"kafka://{cluster.bootstrap}?request_seconds=10")
        await transport.open()
        await transport.create([TopicSpec("t", 1)])
        consumer = await transport.consumer("g", ["t"], RecordingListener())
        await transport.publish(values("t", "a", range(20)))
        assert len(await consumer.poll(100, 20.0)) == 20

        async def load() -> None:
            while True:
                await transport.publish(values("t", "a", range(20)))

        publishing = asyncio.create_task(load())
        await asyncio.sleep(0.5)
        await asyncio.to_thread(cluster.stop)
    with caplog.at_level(logging.ERROR, "aiokafka"):
        caplog.clear()
        await asyncio.sleep(AWAY_SECONDS)
        requests = sum(FAILED_REQUEST in entry.getMessage() for entry in caplog.records)
    assert 0 < requests < MAX_REQUESTS_PER_SECOND * AWAY_SECONDS
    with pytest.raises(Unavailable):
        await publishing
    await transport.close()


class Worker:
    """`sightline work` in a process of its own."""

    def __init__(self, folder: Path, transport: str) -> None:
        settings = (f"transport={transport}", 'segments=[["decode"]]', "serve.metrics_port=0", "log_format=json")
        command = [str(Path(sys.executable).with_name("sightline")), "work", "--data", str(folder)]
        self._log = folder / f"stderr-{time.monotonic_ns()}.txt"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen([*command, *(f"--set={setting}" for setting in settings)], stderr=log)

    @property
    def lines(self) -> list[str]:
        return self._log.read_text().splitlines()

    def get(self, path: str) -> str:
        """What it answers; nothing while it does not listen."""
        url = re.search(r"http://127\.0\.0\.1:\d+", "\n".join(self.lines))
        if url is None:
            assert self.process.poll() is None, self.lines
            return ""
        try:
            with urllib.request.urlopen(url.group() + path, timeout=20) as answer:  # noqa: S310 - http, to this machine
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            return error.read().decode()

    async def answers(self, text: str, path: str = "/readyz") -> None:
        async def said() -> bool:
            return text in await asyncio.to_thread(self.get, path)

        await until(said, seconds=START_SECONDS)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Callable[[str], Worker]]:
    started: list[Worker] = []

    def start(transport: str) -> Worker:
        started.append(Worker(tmp_path, transport))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()


@pytest.mark.timeout(300)
async def test_an_idle_worker_is_not_ready_while_the_broker_is_away(
    tmp_path: Path, worker: Callable[[str], Worker]
) -> None:
    """It has nothing to write, and its poll finds nothing either way; aiokafka repeats its errors all the time."""
    with own_broker(tmp_path / "kafka", VERSION) as cluster:
        idle = worker(f"kafka://{cluster.bootstrap}?request_seconds={REQUEST_SECONDS}")
        await idle.answers("ready\n")
        before = len(idle.lines)
        cluster.nodes[0].kill()
        began = time.monotonic()
        await idle.answers("waits for broker: ")
        assert time.monotonic() - began < REQUEST_SECONDS
        await idle.answers('sightline_waiting{what="broker"} 1.0', "/metrics")
        late = worker(f"kafka://{cluster.bootstrap}")
        await late.answers("waits for broker: ")
        await asyncio.sleep(REQUEST_SECONDS)
        assert "waits for broker: " in await asyncio.to_thread(idle.get, "/readyz")
        said = idle.lines[before:]
        assert len(said) < MAX_LINES, said
        assert sum('"event": "waits"' in line for line in said) == 1
        await asyncio.to_thread(cluster.start)
        for one in (idle, late):
            await one.answers("ready\n")
            one.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(one.process.wait, 60) == 0
            assert any("drained and committed" in line for line in one.lines)
