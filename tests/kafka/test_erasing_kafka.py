"""Erasing where the log is a broker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from typer.testing import Result

from deploy.local.cluster import VERSION, Cluster
from stores.blobs import sha256_hex
from streams.kafka.transport import KafkaTransport
from tests.faults.erasing_suite import ErasingSuite
from tests.kafka.conftest import delete_topics, deployment
from tests.kafka.test_unfinished_kafka import on_broker
from tests.support.deployment import Deployment
from tests.unit.sightline.commands.test_forget import QUICK
from tests.unit.sightline.conftest import Typed, pictures, typed

__all__ = ["Typed", "on_broker", "pictures", "typed"]


@pytest.mark.parametrize("cluster", [VERSION], indirect=True, scope="session")
class TestKafka(ErasingSuite):
    """On one broker: what another version does otherwise is the transport suite's matter."""

    @pytest.fixture
    async def here(self, cluster: Cluster, tmp_path: Path) -> AsyncIterator[Deployment]:
        async with deployment(tmp_path, f"kafka://{cluster.bootstrap}?session_seconds=6") as here:
            yield here


async def lose_log(cluster: Cluster) -> None:
    transport = KafkaTransport.from_url(f"kafka://{cluster.bootstrap}")
    await transport.open()
    await delete_topics(transport)
    await transport.close()


@pytest.mark.parametrize("cluster", [VERSION], indirect=True, scope="session")
def test_deletions_survive_the_loss_of_the_log(
    cluster: Cluster, on_broker: Callable[..., Result], pictures: Path, tmp_path: Path
) -> None:
    first, second = (sha256_hex((pictures / name).read_bytes()) for name in ("0.jpg", "1.jpg"))
    assert on_broker("ingest", "shots", *QUICK).exit_code == 0
    receipt = on_broker("forget", "--picture", "shots/0.jpg", "--json", *QUICK)
    assert receipt.exit_code == 0, receipt.output
    assert on_broker("work", "--until-idle", *QUICK).exit_code == 0
    asyncio.run(lose_log(cluster))
    assert "1 forgotten before" in on_broker("ingest", "shots", *QUICK).stdout
    assert on_broker("work", "--until-idle", *QUICK).exit_code == 0
    stored = {path.name for path in (tmp_path / "data" / "blobs").rglob("*")}
    assert (first in stored, second in stored) == (False, True)
    proof = on_broker("forget", "verify", json.loads(receipt.stdout)["request"], "--json", *QUICK)
    assert (json.loads(proof.stdout)["frames"], json.loads(proof.stdout)["pending"]) == (1, [])
