"""Topics that an operator changes under a running worker: its readiness says so, and it goes on when it can."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete

from deploy.local.cluster import VERSION, Cluster
from processors.stages.decode import Decode, DecodeSettings
from schemas import topics
from streams.kafka.conversion import to_aiokafka
from streams.transport import Partition
from tests.kafka.conftest import deployment
from tests.support.deployment import Deployment, declared, fated, running, until

pytestmark = pytest.mark.parametrize("cluster", [VERSION], indirect=True, scope="session")
GROUP = "sightline.decode"


@pytest.fixture
async def here(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Deployment]:
    async with deployment(tmp_path, f"kafka://{cluster.bootstrap}?session_seconds=6&request_seconds=10") as here:
        yield here


@pytest.fixture
async def admin(cluster: Cluster) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=cluster.bootstrap)
    await client.start()
    yield client
    await client.close()


async def test_a_topic_that_is_created_again_is_worked_on_and_more_partitions_are_told(
    here: Deployment, admin: AIOKafkaAdminClient
) -> None:
    worker = here.worker([Decode(DecodeSettings())])
    async with running(worker) as task:
        await here.publish([fated("ok", number=number) for number in range(20)])
        await until(lambda: here.drained(group=GROUP), task)
        await admin.delete_topics([topics.RAW])
        await until(lambda: "topic frames.raw was deleted" in " ".join(worker.health.unready_reasons()), task)
        await here.transport.create(declared())
        await here.publish([fated("ok", number=number) for number in range(100, 120)])
        await until(lambda: here.drained(group=GROUP), task)
        await until(lambda: not worker.health.unready_reasons(), task)
        assert len(await here.enriched()) == 40
        await admin.create_partitions({topics.RAW: NewPartitions(total_count=6)})
        await until(lambda: "topic frames.raw has 6 partitions now" in " ".join(worker.health.unready_reasons()), task)


async def test_a_position_outside_the_log_is_told_with_the_way_out(
    here: Deployment, admin: AIOKafkaAdminClient
) -> None:
    """Retention deleted what the group had not read."""
    await here.publish([fated("ok", number=number) for number in range(20)])
    async with running(here.worker([Decode(DecodeSettings())])) as task:
        await until(lambda: here.drained(group=GROUP), task)
    await here.publish([fated("ok", number=number) for number in range(20, 60)])
    (_, end) = (await here.transport.ends(topics.RAW))[Partition(topics.RAW, 0)]
    await admin.delete_records({to_aiokafka(Partition(topics.RAW, 0)): RecordsToDelete(end)})
    worker = here.worker([Decode(DecodeSettings())])
    async with running(worker) as task:
        await until(lambda: "lost records" in worker.health.waits, task)
        reason = " ".join(worker.health.unready_reasons())
        assert f"group {GROUP} is at " in reason
        assert f"the log is from {end} to {end}" in reason
        assert "docs/runbook.md, Lost records" in reason
        others = [Partition(topics.RAW, index) for index in (1, 2, 3)]
        await until(lambda: rest_is_done(here, others), task)


async def rest_is_done(here: Deployment, partitions: list[Partition]) -> bool:
    lag = await here.transport.group_lag(GROUP, [topics.RAW])
    return not any(lag[partition] for partition in partitions)
