"""Two deployments on one cluster, each under a namespace of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from deploy.local.cluster import VERSION, Cluster
from processors.stages.decode import Decode, DecodeSettings
from stores.edge.client import EdgeIndex
from stores.edge.settings import EdgeSettings
from stores.folder import BlobFolder
from stores.namespaced import NamespacedIndex
from tests.kafka.conftest import delete_topics
from tests.support.deployment import Deployment, declared, fated, identity, running, until
from tests.support.transport_urls import connect

NAMES = ("harbor", "yard")


@pytest.fixture
async def both(cluster: Cluster, tmp_path: Path) -> AsyncIterator[list[Deployment]]:
    url = f"kafka://{cluster.bootstrap}?session_seconds=6&delivery=transactional"
    plain = connect(url)
    await plain.open()
    await delete_topics(plain)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(plain.close)
        deployments = []
        index = EdgeIndex(tmp_path / "index", EdgeSettings(idle_seconds=5.0))
        stack.push_async_callback(index.close)
        for name in NAMES:
            transport = connect(f"{name}+{url}")
            await transport.open()
            stack.push_async_callback(transport.close)
            await transport.create(declared())
            blobs = BlobFolder(tmp_path / name)
            stack.push_async_callback(blobs.close)
            own = NamespacedIndex(index, name)
            deployments.append(Deployment(tmp_path, tmp_path / "index", transport, own, blobs))  # type: ignore[arg-type]
        yield deployments


@pytest.mark.parametrize("cluster", [VERSION], indirect=True, scope="session")
async def test_each_takes_its_own_frames_under_its_own_names(both: list[Deployment], cluster: Cluster) -> None:
    sent = [[fated("ok", number=10 * first + number) for number in range(5)] for first in range(2)]
    for here, records in zip(both, sent, strict=True):
        await here.publish(records)
    for here, records in zip(both, sent, strict=True):
        async with running(here.worker([Decode(DecodeSettings())])) as task:
            await until(lambda here=here: here.drained(group="sightline.decode"), task)  # type: ignore[misc]
        findings = await here.findings()
        assert findings.kept, findings
        assert (await here.enriched()).keys() == {identity(record) for record in records}
    admin = AIOKafkaAdminClient(bootstrap_servers=cluster.bootstrap)
    await admin.start()
    names = {name for name in await admin.list_topics() if not name.startswith("_")}
    groups = {entry[0] for entry in await admin.list_consumer_groups()}
    await admin.close()
    assert {name.partition(".")[0] for name in names} == set(NAMES)
    assert {f"{name}.sightline.decode" for name in NAMES} <= groups
