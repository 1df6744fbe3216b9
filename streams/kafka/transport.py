"""`kafka://`: Apache Kafka behind the same protocol as the embedded log."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

from aiokafka import AIOKafkaConsumer

from streams.clock import SystemClock
from streams.errors import PlanError, Unavailable
from streams.kafka.aiokafka_internals.fetcher import patch_consumer, raw_records
from streams.kafka.aiokafka_internals.version import check_release
from streams.kafka.cluster_client import ClusterClient
from streams.kafka.consumer import GroupAccess, KafkaConsumer
from streams.kafka.failures import Access, translated
from streams.kafka.membership import Membership
from streams.kafka.partition_batch import PartitionBatch, by_partition
from streams.kafka.publisher import Publisher
from streams.kafka.settings import KafkaSettings
from streams.kafka.transactions import Positions, Transactions
from streams.retry import Backoff, retry
from streams.transport import Group, Listener, NewRecord, Partition, Position, Record, TopicSpec

FETCH_BYTES = 4 << 20
"""A fetch of one partition; larger records come alone."""

RETRY_SECONDS = 0.2
"""Pause between two attempts to reach the cluster."""

REBALANCE_MARGIN = 1.5
"""The group waits this many drain deadlines for a member: aiokafka's default is the session, too short for a batch."""

METADATA_SECONDS = 10.0
"""How soon a member notices that its topic was created again or has more partitions; by default, in 5 minutes."""


class KafkaTransport:
    """See `streams.transport.Transport`.

    At least once: outputs are acknowledged before positions are committed. Transactional, if the settings say so: both
    in one transaction for each partition.
    """

    drops_unfinished = True

    def __init__(self, settings: KafkaSettings) -> None:
        self.settings = settings
        self.atomic = settings.delivery == "transactional"
        self._consumers: set[KafkaConsumer] = set()
        self._clients: tuple[ClusterClient, Publisher] | None = None

    @classmethod
    def from_url(cls, url: str) -> KafkaTransport:
        """`kafka://host:port[,host:port…][?key=value…]`, keys as in `KafkaSettings`. Raises ValueError."""
        return cls(KafkaSettings.from_url(url))

    async def open(self, wait_seconds: float | None = None) -> None:
        """Wait for the cluster up to `wait_seconds`; None: as long as a request may take.

        Raises Unavailable; PlanError for a release of aiokafka that was not checked.
        """
        if self._clients is not None:
            return
        check_release()
        try:
            self.settings.check_files()
        except ValueError as error:
            raise PlanError([str(error)]) from error
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (self.settings.request_seconds if wait_seconds is None else wait_seconds)

        def raise_when_late(error: Exception) -> None:
            if loop.time() >= deadline:
                raise error

        backoff = Backoff(SystemClock(), first_seconds=RETRY_SECONDS, most_seconds=RETRY_SECONDS)
        connect = partial(ClusterClient.connect, self.settings)
        cluster = await retry(connect, Unavailable, backoff, failed=raise_when_late)
        self._clients = cluster, Publisher(self.settings)

    async def close(self) -> None:
        for consumer in list(self._consumers):
            await consumer.close()
        self._consumers.clear()
        if self._clients is not None:
            (cluster, publisher), self._clients = self._clients, None
            await publisher.close()
            await cluster.close()

    async def create(self, topics: Sequence[TopicSpec]) -> None:
        await self._cluster.create(topics)

    async def differences(self, topics: Sequence[TopicSpec]) -> list[str]:
        return await self._cluster.differences(topics)

    async def apply(self, topics: Sequence[TopicSpec]) -> list[str]:
        return await self._cluster.apply(topics)

    async def topics(self) -> Mapping[str, TopicSpec]:
        await self._cluster.load()
        return self._cluster.specs

    async def believes_clock(self) -> bool:
        return True

    async def publish(self, records: Sequence[NewRecord]) -> None:
        cluster = self._cluster
        await cluster.learn({record.topic for record in records})
        await self._publisher.publish(cluster.specs, records)

    async def _by_partition(self, records: Sequence[NewRecord]) -> Sequence[PartitionBatch]:
        cluster = self._cluster
        await cluster.learn({record.topic for record in records})
        return by_partition(cluster.specs, records)

    async def consumer(self, group: str, topics: Sequence[str], listener: Listener) -> KafkaConsumer:
        await self._cluster.learn(topics)
        settings = self.settings
        client = AIOKafkaConsumer(
            **settings.client(),
            group_id=group,
            auto_offset_reset="none",
            enable_auto_commit=False,
            max_partition_fetch_bytes=FETCH_BYTES,
            session_timeout_ms=round(1000 * settings.session_seconds),
            heartbeat_interval_ms=round(1000 * settings.session_seconds / 4),
            max_poll_interval_ms=round(1000 * settings.max_poll_seconds),
            rebalance_timeout_ms=round(1000 * REBALANCE_MARGIN * settings.drain_seconds),
            metadata_max_age_ms=round(1000 * METADATA_SECONDS),
            isolation_level="read_committed",
        )
        reads = Access("Read", topics, group)
        try:
            with translated(reads):
                await client.start()
        except BaseException:
            await client.stop()
            raise
        patch_consumer(client, raw_records(compiled=settings.compiled))
        membership = Membership(client, listener, settings.drain_seconds, settings.request_seconds)
        client.subscribe(list(topics), listener=membership)

        async def positions(partitions: Sequence[Partition]) -> Mapping[Partition, Position | None]:
            return await self._cluster.positions(group, partitions)

        async def lag(partitions: Sequence[Partition]) -> Mapping[Partition, int]:
            return await self._cluster.lag(group, partitions)

        transactions = self.transactions(group, membership, positions) if self.atomic else None
        access = GroupAccess(positions, lag, self.publish, self._by_partition, reads)
        consumer = KafkaConsumer(client, membership, access, transactions, settings.request_seconds)
        self._consumers.add(consumer)
        return consumer

    def transactions(self, group: str, membership: Membership, positions: Positions) -> Transactions:
        """What a member of `group` writes with."""
        return Transactions(self.settings, group, membership, positions)

    async def read(self, partition: Partition, offset: int, max_records: int) -> Sequence[Record]:
        return await self._cluster.read(partition, offset, max_records)

    async def ends(self, topic: str) -> Mapping[Partition, tuple[int, int]]:
        return await self._cluster.ends(topic)

    async def group_lag(self, group: str, topics: Sequence[str]) -> Mapping[Partition, int]:
        cluster = self._cluster
        return await cluster.lag(group, await cluster.partitions(topics))

    async def groups(self, prefix: str = "") -> Mapping[str, Group]:
        return await self._cluster.groups(prefix)

    async def forget(self, group: str) -> None:
        await self._cluster.forget(group)

    async def cut(self, partition: Partition, before: int) -> None:
        await self._cluster.cut(partition, before)

    async def erase(self, partition: Partition, offsets: Sequence[int]) -> Sequence[int]:
        return offsets

    @property
    def _cluster(self) -> ClusterClient:
        return self._open_clients[0]

    @property
    def _publisher(self) -> Publisher:
        return self._open_clients[1]

    @property
    def _open_clients(self) -> tuple[ClusterClient, Publisher]:
        if self._clients is None:
            raise Unavailable("the Kafka transport is not open")
        return self._clients
