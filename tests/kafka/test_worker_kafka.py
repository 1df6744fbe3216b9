"""Workers on a real broker: they come and go, hang, and wait for an index that is away; no frame is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from deploy.local.cluster import VERSION, Cluster
from processors.frame import Frame, Verdicts
from schemas import topics
from stores.edge.client import EdgeIndex
from stores.edge.settings import EdgeSettings
from stores.folder import BlobFolder
from stores.index import Index
from stores.open import open_index
from streams.kafka.transport import KafkaTransport
from streams.metrics import Metrics
from tests.kafka.conftest import delete_topics
from tests.support.deployment import QUICK, Deployment, declared, fated, running, until
from tests.support.edge_folder import edge_folder, process_id
from tests.support.fault_stages import Fate, Vectors
from tests.support.qdrant_server import Ports, free_port, qdrant_server

FRAMES = [fated("invalid" if number % 50 == 7 else "ok", number=number) for number in range(200)]
MAX_POLL_SECONDS = 2.0
AWAY_SECONDS = 3 * MAX_POLL_SECONDS


@asynccontextmanager
async def deployed(cluster: Cluster, folder: Path, index: Index, **keys: float) -> AsyncIterator[Deployment]:
    query = "&".join(f"{name}={value}" for name, value in {"session_seconds": 6, **keys}.items())
    transport = KafkaTransport.from_url(f"kafka://{cluster.bootstrap}?{query}")
    await transport.open()
    await delete_topics(transport)
    await transport.create(declared())
    blobs = BlobFolder(folder / "blobs")
    yield Deployment(folder, folder / "index", transport, index, blobs)  # type: ignore[arg-type]
    await blobs.close()
    await index.close()
    await transport.close()


@pytest.fixture
async def here(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Deployment]:
    with edge_folder(tmp_path / "index") as folder:
        async with deployed(cluster, tmp_path, EdgeIndex(folder, EdgeSettings(idle_seconds=5.0))) as deployment:
            yield deployment


async def something_enriched(here: Deployment) -> bool:
    return any(following for _, following in (await here.transport.ends(topics.ENRICHED)).values())


async def test_workers_come_and_go_and_every_frame_reaches_its_end(here: Deployment) -> None:
    await here.publish(FRAMES[:100])
    first, second = here.worker([Fate(), Vectors()]), here.worker([Fate(), Vectors()])
    async with running(second) as later:
        async with running(first) as task:
            await until(lambda: something_enriched(here), task)
            await here.publish(FRAMES[100:])
        await until(here.drained, later, seconds=60)
    findings = await here.findings()
    assert findings.kept, findings
    assert (findings.accepted, findings.dead) == (200, 4)


class Held(Fate):
    """Computes until `release` is set."""

    entered: threading.Event
    release: threading.Event

    def process(self, frames: Sequence[Frame]) -> Verdicts:
        self.entered.set()
        self.release.wait()
        return super().process(frames)


def sample(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(f"sightline_{name}", labels) or 0.0


def lag(metrics: Metrics) -> float:
    return sum(sample.value for metric in metrics.lag.collect() for sample in metric.samples)


async def test_lag_rebalances_drains_and_late_completions_are_counted(here: Deployment) -> None:
    """One worker hangs in its stage while another joins; what it finishes after the drain's deadline is dropped."""
    held = Held()
    held.entered, held.release = threading.Event(), threading.Event()
    impatient = msgspec.structs.replace(QUICK, drain_seconds=1.0, watch_seconds=0.1, batch_frames=8)
    hung = here.worker([held, Vectors()], settings=impatient)
    of_hung, here.metrics = here.metrics, Metrics(CollectorRegistry())
    await here.publish(FRAMES)
    async with running(hung) as task:
        await until(held.entered.is_set, task)
        await until(lambda: lag(of_hung) == len(FRAMES), task)
        assert sample(of_hung, "rebalance_seconds_count") == 1
        async with running(here.worker([Fate(), Vectors()], settings=impatient)) as other:
            await until(lambda: sample(of_hung, "rebalance_seconds_count") == 2, task)
            assert sample(of_hung, "rebalances_total", change="revoked") == 4
            assert sample(of_hung, "drain_seconds_count", cause="revoke") == 1
            assert sample(of_hung, "drain_seconds_sum", cause="revoke") >= 1.0
            assert sample(of_hung, "rebalance_seconds_sum") >= 1.0
            assert sample(of_hung, "late_completions_total") == 0
            held.release.set()
            await until(lambda: sample(of_hung, "late_completions_total") >= 8, task)
            await until(here.drained, other)
            await until(lambda: lag(of_hung) + lag(here.metrics) == 0, other)
            assert sample(here.metrics, "late_completions_total") == 0
    findings = await here.findings()
    assert findings.kept, findings


Away: TypeAlias = Callable[[], Awaitable[None]]
Fault: TypeAlias = Callable[[Path], AbstractAsyncContextManager[tuple[Index, Away, Away]]]


@asynccontextmanager
async def hanging(folder: Path) -> AsyncIterator[tuple[Index, Away, Away]]:
    """The embedded index with a suspended process: it does not answer."""

    async def away() -> None:
        os.kill(process_id(folder), signal.SIGSTOP)

    async def back() -> None:
        os.kill(process_id(folder), signal.SIGCONT)

    with edge_folder(folder):
        yield EdgeIndex(folder, EdgeSettings(call_timeout_seconds=1.0)), away, back


@asynccontextmanager
async def killed(folder: Path) -> AsyncIterator[tuple[Index, Away, Away]]:
    """A Qdrant server, which is stopped and started on the same ports: none listens in between."""
    folder.mkdir()
    ports = Ports(free_port(), free_port())
    servers = [qdrant_server(folder, ports)]
    url = servers[0].__enter__()

    async def away() -> None:
        await asyncio.to_thread(servers.pop().__exit__, None, None, None)

    async def back() -> None:
        servers.append(qdrant_server(folder, ports))
        await asyncio.to_thread(servers[0].__enter__)

    try:
        yield open_index(url), away, back
    finally:
        while servers:
            await away()


@pytest.mark.parametrize("cluster", [VERSION], indirect=True, scope="session")
@pytest.mark.parametrize("fault", [hanging, killed])
async def test_an_index_away_for_longer_than_the_poll_interval_costs_no_rebalance(
    cluster: Cluster, tmp_path: Path, fault: Fault
) -> None:
    """Queues are full and nothing is committed meanwhile; afterwards everything goes on, in the same assignment."""
    settings = msgspec.structs.replace(QUICK, batch_frames=8, in_flight_frames=32)
    patience = {"session_seconds": 2, "max_poll_seconds": MAX_POLL_SECONDS}
    async with (
        fault(tmp_path / "index") as (index, away, back),
        deployed(cluster, tmp_path, index, **patience) as here,
    ):
        worker = here.worker([Fate(), Vectors()], settings=settings)
        async with running(worker) as task:
            await here.publish(FRAMES[:20])
            await until(here.drained, task)
            await away()
            await here.publish(FRAMES[20:])
            await until(lambda: "index" in worker.health.waits, task)
            ends = time.monotonic() + AWAY_SECONDS
            await until(lambda: time.monotonic() > ends, task)
            assert "index" in worker.health.waits
            assert not await here.drained()
            await back()
            await until(here.drained, task)
        assert sample(here.metrics, "rebalance_seconds_count") == 1
        assert sample(here.metrics, "rebalances_total", change="assigned") == 4
        findings = await here.findings()
        assert findings.kept, findings
        assert (findings.accepted, findings.repeated) == (200, 0)
