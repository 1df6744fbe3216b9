from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.local.cluster import VERSION, Cluster
from stores.edge.client import EdgeIndex
from stores.edge.settings import EdgeSettings
from stores.folder import BlobFolder
from streams.kafka.transport import KafkaTransport
from tests.faults.erasing_suite import ErasingSuite
from tests.kafka.conftest import delete_topics
from tests.support.deployment import Deployment, declared
from tests.support.edge_folder import edge_folder


@pytest.mark.parametrize("cluster", [VERSION], indirect=True, scope="session")
class TestKafka(ErasingSuite):
    """On one broker: what another version does otherwise is the transport suite's matter."""

    @pytest.fixture
    async def here(self, cluster: Cluster, tmp_path: Path) -> AsyncIterator[Deployment]:
        transport = KafkaTransport.from_url(f"kafka://{cluster.bootstrap}?session_seconds=6")
        await transport.open()
        await delete_topics(transport)
        await transport.create(declared())
        with edge_folder(tmp_path / "index") as folder:
            index, blobs = EdgeIndex(folder, EdgeSettings(idle_seconds=5.0)), BlobFolder(tmp_path / "blobs")
            yield Deployment(tmp_path, folder, transport, index, blobs)  # type: ignore[arg-type]
            await blobs.close()
            await index.close()
            await transport.close()
