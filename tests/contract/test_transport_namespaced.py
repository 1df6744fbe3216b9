"""A transport under a namespace against the suite, and two deployments on one log."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.namespaced import NamespacedTransport
from streams.transport import Partition, TopicSpec, Transport
from tests.contract.test_transport_sqlite import TestSqliteTransport as SqliteSuite
from tests.contract.transport_suite import RecordingListener, TransportSuite, number, values
from tests.support.transport_urls import connect


class TestNamespacedTransport(TransportSuite):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"harbor+sqlite:///{tmp_path}/log.sqlite"

    async def lose(self, transport: Transport, partition: Partition, before: int) -> None:
        assert isinstance(transport, NamespacedTransport)
        await SqliteSuite().lose(transport._transport, Partition(f"harbor.{partition.topic}", partition.index), before)

    async def compact(self, transport: Transport, topic: str) -> None:
        assert isinstance(transport, NamespacedTransport)
        await SqliteSuite().compact(transport._transport, f"harbor.{topic}")


async def test_deployments_share_a_log_and_see_nothing_of_each_other(tmp_path: Path) -> None:
    plain = f"sqlite:///{tmp_path}/log.sqlite"
    transports = [connect(url) for url in (plain, f"harbor+{plain}", f"yard+{plain}")]
    for first, transport in enumerate(transports):
        await transport.open()
        await transport.create([TopicSpec("frames.raw", 1)])
        await transport.publish(values("frames.raw", "a", [first]))
    for first, transport in enumerate(transports):
        consumer = await transport.consumer("workers", ["frames.raw"], RecordingListener())
        assert [number(record) for record in await consumer.poll(10, 5.0)] == [first]
        await consumer.close()
    assert set(await transports[1].topics()) == {"frames.raw"}
    assert set(await transports[0].topics()) == {"frames.raw", "harbor.frames.raw", "yard.frames.raw"}
    for transport in transports:
        await transport.close()
