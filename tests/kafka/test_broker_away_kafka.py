"""While the broker is away, clients are idle: aiokafka without the limit takes a core for metadata requests."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from deploy.local.cluster import VERSION
from streams.errors import Unavailable
from streams.kafka.transport import KafkaTransport
from streams.transport import TopicSpec
from tests.contract.transport_suite import RecordingListener, values
from tests.kafka.conftest import AWAY_SECONDS, FAILED_REQUEST, MAX_REQUESTS_PER_SECOND, own_broker


async def test_metadata_requests_are_limited_while_a_broker_is_shut_down(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Under load, so that the producer learns that its partition has no leader before the broker stops answering."""
    with own_broker(tmp_path, VERSION) as cluster:
        transport = KafkaTransport.from_url(f"kafka://{cluster.bootstrap}?request_seconds=10")
        await transport.open()
        await transport.create([TopicSpec("t", 1)])
        consumer = await transport.consumer("g", ["t"], RecordingListener())
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
        requests = sum(FAILED_REQUEST in entry.getMessage() for entry in caplog.records)
    assert 0 < requests < MAX_REQUESTS_PER_SECOND * AWAY_SECONDS
    with pytest.raises(Unavailable):
        await publishing
    await transport.close()
