"""While the broker is away nobody is busy: aiokafka by itself takes a core to ask for it."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from deploy.local.cluster import VERSION
from streams.errors import Unavailable
from streams.kafka.transport import KafkaTransport
from streams.transport import TopicSpec
from tests.contract.transport_suite import Ear, values
from tests.kafka.conftest import ASKED_A_SECOND, ASKED_IN_VAIN, AWAY_SECONDS, own_broker


async def test_a_broker_that_went_down_in_peace_is_asked_with_pauses(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Under load, so that the producer hears that its partition has no leader any more before it hears nothing."""
    with own_broker(tmp_path, VERSION) as cluster:
        transport = KafkaTransport.from_url(f"kafka://{cluster.bootstrap}?request_seconds=10")
        await transport.open()
        await transport.create([TopicSpec("t", 1)])
        consumer = await transport.consumer("g", ["t"], Ear())
        await transport.publish(values("t", "a", range(20)))
        assert len(await consumer.poll(100, 20.0)) == 20

        async def load() -> None:
            while True:
                await transport.publish(values("t", "a", range(20)))

        publishing = asyncio.create_task(load())
        await asyncio.sleep(0.5)
        await asyncio.to_thread(cluster.stop)
    with caplog.at_level(logging.ERROR, "aiokafka"):
        caplog.clear()
        await asyncio.sleep(AWAY_SECONDS)
        asked = sum(ASKED_IN_VAIN in entry.getMessage() for entry in caplog.records)
    assert 0 < asked < ASKED_A_SECOND * AWAY_SECONDS
    with pytest.raises(Unavailable):
        await publishing
    await transport.close()
