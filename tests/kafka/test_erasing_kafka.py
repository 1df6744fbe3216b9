from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.local.cluster import VERSION, Cluster
from tests.faults.erasing_suite import ErasingSuite
from tests.kafka.conftest import deployment
from tests.support.deployment import Deployment


@pytest.mark.parametrize("cluster", [VERSION], indirect=True, scope="session")
class TestKafka(ErasingSuite):
    """On one broker: what another version does otherwise is the transport suite's matter."""

    @pytest.fixture
    async def here(self, cluster: Cluster, tmp_path: Path) -> AsyncIterator[Deployment]:
        async with deployment(tmp_path, f"kafka://{cluster.bootstrap}?session_seconds=6") as here:
            yield here
