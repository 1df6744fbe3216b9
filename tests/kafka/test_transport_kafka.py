"""Apache Kafka against the suite that the embedded log passes."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from deploy.local.cluster import Cluster
from streams.kafka.conversion import to_aiokafka
from streams.kafka.topics import configuration
from streams.transport import NewRecord, Partition, Transport
from tests.contract.transport_suite import TransportSuite
from tests.kafka.conftest import reader_query


class TestKafkaTransport(TransportSuite):
    deadline_seconds = 40.0

    @pytest.fixture
    def url(self, cluster: Cluster) -> str:
        return f"kafka://{cluster.bootstrap}?session_seconds=3&{reader_query(cluster)}"

    async def lose(self, transport: Transport, partition: Partition, before: int) -> None:
        admin = await self._admin(transport)
        await admin.delete_records({to_aiokafka(partition): RecordsToDelete(before)})
        await admin.close()

    async def compact(self, transport: Transport, topic: str) -> None:
        """The broker compacts closed segments only: a later record of another key closes the present one."""
        admin = await self._admin(transport)
        eager = {"segment.ms": "100", "min.cleanable.dirty.ratio": "0.001", "max.compaction.lag.ms": "100"}
        wanted = configuration((await transport.topics())[topic], 1) | eager
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, wanted)])
        await admin.close()
        async with asyncio.timeout(self.deadline_seconds):
            while True:
                await transport.publish([NewRecord(topic, b"filler", b"")])
                records = await transport.read(Partition(topic, 0), 0, 10_000)
                if sum(record.key == b"a" for record in records) == 1:
                    return

    async def _admin(self, transport: Transport) -> AIOKafkaAdminClient:
        admin = AIOKafkaAdminClient(bootstrap_servers=transport.settings.bootstrap)  # type: ignore[attr-defined]
        await admin.start()
        return admin


class TestTransactions(TestKafkaTransport):
    """The same, with outputs and positions in one transaction."""

    @pytest.fixture
    def url(self, cluster: Cluster) -> str:
        return f"kafka://{cluster.bootstrap}?session_seconds=3&delivery=transactional&{reader_query(cluster)}"
