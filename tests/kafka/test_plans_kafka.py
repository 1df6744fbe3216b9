"""Events depend neither on the plan's segments nor on the transport: Kafka gives those of the embedded log."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local.cluster import VERSION, Cluster
from sightline.config import FUSED
from streams.kafka.transport import KafkaTransport
from tests.kafka.conftest import delete_topics
from tests.whole.test_plans import LONG, SPLIT, different, events

pytestmark = [pytest.mark.whole, pytest.mark.timeout(3600 if LONG else 900)]


async def empty_broker(cluster: Cluster, delivery: str) -> str:
    """Delete the broker's topics; its URL."""
    url = f"kafka://{cluster.bootstrap}?delivery={delivery}"
    transport = KafkaTransport.from_url(url)
    await transport.open()
    await delete_topics(transport)
    await transport.close()
    return url


@pytest.mark.parametrize("cluster", [VERSION], indirect=True, scope="session")
async def test_fused_and_split_plans_on_kafka_give_the_events_of_the_embedded_log(
    cluster: Cluster, tmp_path: Path
) -> None:
    """The split plan hands frames over in transactions; `tests/whole/test_plans.py` splits it on the embedded log."""
    embedded = await events(tmp_path / "embedded", FUSED, 16)
    fused = await events(tmp_path / "fused", FUSED, 7, await empty_broker(cluster, "at_least_once"))
    assert not different(embedded, fused)
    split = await events(tmp_path / "split", SPLIT, 5, await empty_broker(cluster, "transactional"))
    assert not different(embedded, split)
