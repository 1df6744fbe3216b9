"""The examples of `docs/producers.md`, run unchanged against a real broker; their frames come out enriched."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.local.cluster import VERSION, Cluster
from processors.stages.decode import Decode, DecodeSettings
from schemas import topics
from schemas.identity import frame_id, partition_of, produced_position
from stores.blobs import sha256_hex
from streams.topic_reader import read_topic
from tests.kafka.conftest import deployment
from tests.support.deployment import PARTITIONS, Deployment, running, until
from tests.support.pictures import encoded, scene

ROOT = Path(__file__).parents[2]
EXAMPLES = {"python": ("producer.py", [sys.executable]), "kcat": ("producer.sh", ["sh"])}


@pytest.fixture
async def here(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Deployment]:
    async with deployment(tmp_path, f"kafka://{cluster.bootstrap}?session_seconds=6") as here:
        yield here


@pytest.mark.parametrize("cluster", [VERSION], indirect=True, scope="session")
@pytest.mark.parametrize("example", EXAMPLES)
async def test_an_example_puts_pictures_on_the_log_that_come_out_enriched(
    here: Deployment, cluster: Cluster, tmp_path: Path, example: str
) -> None:
    if example == "kcat" and shutil.which("kcat") is None:
        pytest.skip("kcat is missing: apt-get install kcat")
    content = encoded(scene(1))
    (tmp_path / "picture.jpg").write_bytes(content)
    name, program = EXAMPLES[example]
    command = [*program, str(ROOT / "examples" / name), cluster.bootstrap, "yard", str(tmp_path / "picture.jpg")]
    for _ in range(2):  # a producer that is not sure sends again
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
    sha256 = sha256_hex(content)
    for record in [one async for one in read_topic(here.transport, topics.RAW)]:
        assert record.partition.index == partition_of(sha256.encode(), PARTITIONS)
    async with running(here.worker([Decode(DecodeSettings())])) as task:
        await until(lambda: here.drained(group="sightline.decode"), task)
    findings = await here.findings()
    assert findings.kept, findings
    assert (findings.accepted, findings.enriched, findings.repeated) == (1, 1, 1)
    (event,) = (await here.enriched()).values()
    assert event.id == frame_id("default", "yard", produced_position("/my-service/yard", sha256))
    assert (event.feed, event.kind, event.image.width, event.image.height) == ("yard", "still", 160, 120)
    assert event.captured is not None
    assert await here.blobs.get("default", event.image.uri) == content


@pytest.mark.parametrize("name", [name for name, _ in EXAMPLES.values()])
def test_the_page_shows_the_examples_as_they_are_run(name: str) -> None:
    assert (ROOT / "examples" / name).read_text() in (ROOT / "docs" / "producers.md").read_text()
