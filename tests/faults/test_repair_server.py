"""A repair with a Qdrant server as the index."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stores.server import ServerIndex
from tests.faults.repair_suite import RepairSuite
from tests.support.deployment import Deployment, deployed
from tests.support.qdrant_server import qdrant_server

pytestmark = pytest.mark.qdrant


class TestQdrantServer(RepairSuite):
    @pytest.fixture
    async def here(self, tmp_path: Path) -> AsyncIterator[Deployment]:
        with qdrant_server(tmp_path) as url:
            async with deployed(tmp_path, fresh=False) as here:
                await here.index.close()
                here.index = index = ServerIndex(url)  # type: ignore[assignment]
                yield here
                await index.close()
