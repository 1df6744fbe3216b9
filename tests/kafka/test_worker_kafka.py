"""Workers on a real broker: a second one joins in the middle and the first one leaves, and the promise is kept."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.local.cluster import Cluster
from schemas import topics
from stores.edge.client import EdgeIndex
from stores.edge.settings import EdgeSettings
from stores.folder import BlobFolder
from streams.kafka.transport import KafkaTransport
from tests.faults.rig import Deployment, declared, fated, running, until
from tests.faults.stages import Fate, Vectors

FRAMES = [fated("invalid" if number % 50 == 7 else "ok", number=number) for number in range(200)]


@pytest.fixture
async def here(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Deployment]:
    transport = KafkaTransport.from_url(f"kafka://{cluster.bootstrap}?session_seconds=6")
    await transport.open()
    await transport.create(declared())
    index, blobs = EdgeIndex(tmp_path / "index", EdgeSettings(idle_seconds=5.0)), BlobFolder(tmp_path / "blobs")
    yield Deployment(tmp_path, tmp_path / "index", transport, index, blobs)  # type: ignore[arg-type]
    await blobs.close()
    await index.close()
    await transport.close()


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
