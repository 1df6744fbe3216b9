"""Neither the plan's segments nor the transport are seen in what comes out: Kafka's events are the embedded log's."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local.cluster import VERSION, Cluster
from sightline.config import FUSED
from streams.kafka.transport import KafkaTransport
from tests.kafka.conftest import emptied
from tests.whole.test_plans import LONG, SPLIT, different, events

pytestmark = [pytest.mark.whole, pytest.mark.timeout(3600 if LONG else 900)]


async def fresh(cluster: Cluster, delivery: str) -> str:
    """The URL of a broker without topics."""
    url = f"kafka://{cluster.bootstrap}?delivery={delivery}"
    transport = KafkaTransport.from_url(url)
    await transport.open()
    await emptied(transport)
    await transport.close()
    return url


@pytest.mark.parametrize("cluster", [VERSION], indirect=True, scope="session")
async def test_fused_and_split_plans_on_kafka_give_the_events_of_the_embedded_log(
    cluster: Cluster, tmp_path: Path
) -> None:
    """The split plan hands its frames on in transactions; `tests/whole/test_plans.py` splits it on the embedded log."""
    embedded = await events(tmp_path / "embedded", FUSED, 16)
    fused = await events(tmp_path / "fused", FUSED, 7, await fresh(cluster, "at_least_once"))
    assert not different(embedded, fused)
    split = await events(tmp_path / "split", SPLIT, 5, await fresh(cluster, "transactional"))
    assert not different(embedded, split)
