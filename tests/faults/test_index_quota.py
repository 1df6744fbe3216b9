"""A Qdrant server whose quota is full: no frame is at fault, so none is dead."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from qdrant_client import AsyncQdrantClient, models

from schemas import points
from stores.errors import StoreUnavailable
from stores.index import Point
from stores.server import ServerIndex
from tests.support.deployment import FRAMES, collections, deployed, fated, running, until
from tests.support.fault_stages import DIMENSION, Fate, Vectors
from tests.support.qdrant_server import Ports, free_port, qdrant_server

pytestmark = pytest.mark.qdrant
SENT = [fated("ok", number=number) for number in range(7)]
COUNTED_EVERY = 40
"""The server counts what a collection holds once in some 32 calls."""


async def test_frames_wait_for_a_full_quota_and_are_enriched_after_it(tmp_path: Path) -> None:
    ports = Ports(free_port(), free_port())
    with qdrant_server(tmp_path, ports) as url:
        async with deployed(tmp_path) as here:
            here.index = index = ServerIndex(url)  # type: ignore[assignment]
            await fill(index, ports)
            await here.publish(SENT)
            worker = here.worker([Fate(), Vectors()])
            async with running(worker) as task:
                await until(lambda: "index" in worker.health.waits, task)
                assert "limit of 5 reached" in " ".join(worker.health.unready_reasons())
                assert not await here.letters()
                await limit(ports, None)
                await until(here.drained, task)
            assert not await here.letters()
            assert len(await here.enriched()) == len(SENT)
            await index.close()


async def fill(index: ServerIndex, ports: Ports) -> None:
    """Limit the collection to 5 points, and write until the server notices."""
    await index.ensure(collections()[FRAMES], FRAMES)
    await limit(ports, 5)
    vector = np.ones(DIMENSION, "f4")
    with suppress(StoreUnavailable):
        for _ in range(2 * COUNTED_EVERY):
            await index.upsert(FRAMES, [Point(id=str(uuid4()), vectors={points.SEMANTIC: vector}, payload={})])


async def limit(ports: Ports, most: int | None) -> None:
    client = AsyncQdrantClient(url=f"http://127.0.0.1:{ports.http}", check_compatibility=False)
    strict = models.StrictModeConfig(enabled=most is not None, max_points_count=most)
    await client.update_collection(collections()[FRAMES].name, strict_mode_config=strict)
    await client.close()
