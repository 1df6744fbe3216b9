"""`check` and `repair` where the log is a broker."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from typer.testing import Result

from deploy.local.cluster import VERSION, Cluster
from tests.faults.repair_suite import RepairSuite
from tests.kafka.conftest import deployment
from tests.kafka.test_unfinished_kafka import on_broker
from tests.support.deployment import Deployment
from tests.unit.sightline.commands.test_repair import DECODE_ONLY
from tests.unit.sightline.conftest import Typed, pictures, typed

__all__ = ["Typed", "on_broker", "pictures", "typed"]
SMALL = "--set=stages.decode.thumbnail_side=64"


@pytest.mark.parametrize("cluster", [VERSION], indirect=True, scope="session")
class TestKafka(RepairSuite):
    @pytest.fixture
    async def here(self, cluster: Cluster, tmp_path: Path) -> AsyncIterator[Deployment]:
        async with deployment(tmp_path, f"kafka://{cluster.bootstrap}?session_seconds=6") as here:
            yield here


@pytest.mark.parametrize("cluster", [VERSION], indirect=True, scope="session")
def test_a_lost_thumbnail_is_found_and_made_again_by_the_commands(
    on_broker: Callable[..., Result], pictures: Path, tmp_path: Path
) -> None:
    assert on_broker("ingest", str(pictures), DECODE_ONLY).exit_code == 0
    assert on_broker("work", "--until-idle", DECODE_ONLY, SMALL, "--set=serve.metrics_port=0").exit_code == 0
    first, *_ = sorted((tmp_path / "data" / "blobs").rglob("*.thumb"))
    content = first.read_bytes()
    first.unlink()
    found = on_broker("check", "--json", DECODE_ONLY, SMALL)
    assert (found.exit_code, len(json.loads(found.stdout)["pictures"]["thumbnails_missing"])) == (1, 1)
    assert on_broker("repair", DECODE_ONLY, SMALL).exit_code == 0
    assert first.read_bytes() == content
    assert on_broker("check", "--deep", DECODE_ONLY, SMALL).exit_code == 0
