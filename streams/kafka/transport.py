"""`kafka://`: Apache Kafka behind the same protocol as the embedded log."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient

from streams.errors import PlanError, Unavailable
from streams.kafka import topics
from streams.kafka.consumer import KafkaConsumer
from streams.kafka.failures import translated
from streams.kafka.lots import PartitionBatch, lots
from streams.kafka.membership import Membership, from_aiokafka, position_from, to_aiokafka
from streams.kafka.mending import mend
from streams.kafka.positions import committed
from streams.kafka.publisher import Publisher
from streams.kafka.settings import KafkaSettings
from streams.kafka.transactions import Positions, Transactions
from streams.kafka.unpacking import records_from, unpack
from streams.transport import Listener, NewRecord, Partition, Position, Record, TopicSpec

FETCH_BYTES = 4 << 20
"""A fetch of one partition; larger records come alone."""

MARKERS = 1024
"""Transactions leave markers behind, and what was aborted: of so few offsets it is looked whether any is a record."""

READ_MILLISECONDS = 50
"""What is there comes at once; a transaction's marker is no record, and whoever waits after it waits in vain."""

FETCH_MILLISECONDS = 10
"""The reader jumps from partition to partition: a fetch that waits for news of the last one holds up the next."""

RETRY_SECONDS = 0.2
REBALANCE_MARGIN = 1.5
"""The group waits this many drain deadlines for a member: aiokafka's default is the session, too short for a batch."""


class KafkaTransport:
    """See `streams.transport.Transport`.

    At least once: outputs are acknowledged before positions are committed. Transactional, if the settings say so: both
    in one transaction for each partition.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self.settings = settings
        self.atomic = settings.delivery == "transactional"
        self._specs: Mapping[str, TopicSpec] = {}
        self._consumers: set[KafkaConsumer] = set()
        self._reading = asyncio.Lock()
        self._clients: tuple[AIOKafkaAdminClient, AIOKafkaConsumer, Publisher] | None = None

    @classmethod
    def from_url(cls, url: str) -> KafkaTransport:
        """`kafka://host:port[,host:port…][?key=value…]`, keys as in `KafkaSettings`. Raises ValueError."""
        return cls(KafkaSettings.from_url(url))

    async def open(self) -> None:
        """Wait for the cluster for as long as a request may take. Raises Unavailable."""
        client = self.settings.client()
        ends = asyncio.get_running_loop().time() + self.settings.request_seconds
        while self._clients is None:
            try:
                with translated():
                    await self._connect(client)
            except Unavailable:
                if asyncio.get_running_loop().time() > ends:
                    raise
                await asyncio.sleep(RETRY_SECONDS)

    async def close(self) -> None:
        for consumer in list(self._consumers):
            await consumer.close()
        self._consumers.clear()
        if self._clients is not None:
            (admin, reader, publisher), self._clients = self._clients, None
            await publisher.close()
            await reader.stop()
            await admin.close()

    async def create(self, specs: Sequence[TopicSpec]) -> None:
        with translated():
            await topics.create(self._admin, specs, self.settings.replicas, self.settings.request_seconds)
        await self._load()

    async def topics(self) -> Mapping[str, TopicSpec]:
        await self._load()
        return self._specs

    async def publish(self, records: Sequence[NewRecord]) -> None:
        await self._learn({record.topic for record in records})
        await self._publisher.publish(self._specs, records)

    async def _lots(self, records: Sequence[NewRecord]) -> Sequence[PartitionBatch]:
        await self._learn({record.topic for record in records})
        return lots(self._specs, records)

    async def consumer(self, group: str, names: Sequence[str], listener: Listener) -> KafkaConsumer:
        await self._learn(names)
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
            isolation_level="read_committed",
        )
        with translated():
            await client.start()
        unpack(client, compiled=settings.compiled)
        mend(client)
        membership = Membership(client, listener, settings.drain_seconds, settings.request_seconds)
        client.subscribe(list(names), listener=membership)

        async def positions(partitions: Sequence[Partition]) -> Mapping[Partition, Position | None]:
            return await self._positions(group, partitions)

        async def lag(partitions: Sequence[Partition]) -> Mapping[Partition, int]:
            return await self._lag(group, partitions)

        transactions = self.transactions(group, membership, positions) if self.atomic else None
        consumer = KafkaConsumer(
            client, membership, positions, lag, self.publish, transactions, self._lots, settings.request_seconds
        )
        self._consumers.add(consumer)
        return consumer

    def transactions(self, group: str, membership: Membership, positions: Positions) -> Transactions:
        """What a member of `group` writes with."""
        return Transactions(self.settings, group, membership, positions)

    async def read(self, partition: Partition, offset: int, max_records: int) -> Sequence[Record]:
        place, records = to_aiokafka(partition), list[Record]()
        first, following = (await self.ends(partition.topic))[partition]
        async with self._reading:
            reader = self._reader
            reader.assign([place])
            at = max(offset, first)
            with translated():
                async with asyncio.timeout(self.settings.request_seconds):
                    while at < following and len(records) < max_records:
                        reader.seek(place, at)
                        left = max_records - len(records)
                        fetched = await reader.getmany(place, timeout_ms=READ_MILLISECONDS, max_records=left)
                        records += records_from(partition, -1, fetched.get(place, ()))
                        at = await reader.position(place)
                reader.assign([])  # or it asks for more, for ever
        return records

    async def ends(self, topic: str) -> Mapping[Partition, tuple[int, int]]:
        await self._learn([topic])
        places = [to_aiokafka(partition) for partition in self._partitions([topic])]
        with translated():
            first, following = await asyncio.gather(
                self._reader.beginning_offsets(places), self._reader.end_offsets(places)
            )
        return {from_aiokafka(place): (first[place], following[place]) for place in places}

    async def group_lag(self, group: str, names: Sequence[str]) -> Mapping[Partition, int]:
        await self._learn(names)
        return await self._lag(group, self._partitions(names))

    async def _connect(self, client: Mapping[str, object]) -> None:
        admin = AIOKafkaAdminClient(**client)
        reader = AIOKafkaConsumer(
            **client,
            auto_offset_reset="none",
            isolation_level="read_committed",
            fetch_max_wait_ms=FETCH_MILLISECONDS,
        )
        try:
            await admin.start()
            await reader.start()
            mend(reader)
        except BaseException:
            await reader.stop()
            await admin.close()
            raise
        self._clients = admin, reader, Publisher(self.settings)
        await self._load()

    @property
    def _open(self) -> tuple[AIOKafkaAdminClient, AIOKafkaConsumer, Publisher]:
        if self._clients is None:
            raise Unavailable("the transport is not open")
        return self._clients

    @property
    def _admin(self) -> AIOKafkaAdminClient:
        return self._open[0]

    @property
    def _reader(self) -> AIOKafkaConsumer:
        return self._open[1]

    @property
    def _publisher(self) -> Publisher:
        return self._open[2]

    async def _load(self) -> None:
        with translated():
            self._specs = {name: found.spec for name, found in (await topics.describe(self._admin)).items()}

    async def _learn(self, names: Collection[str]) -> None:
        """Another process may have made a topic since."""
        if not self._specs.keys() >= set(names):
            await self._load()
        if missing := [name for name in names if name not in self._specs]:
            raise PlanError([f"topic {name}: it does not exist" for name in missing])

    def _partitions(self, names: Sequence[str]) -> list[Partition]:
        return [Partition(name, number) for name in names for number in range(self._specs[name].partitions)]

    async def _positions(self, group: str, partitions: Sequence[Partition]) -> Mapping[Partition, Position | None]:
        with translated():
            async with asyncio.timeout(self.settings.request_seconds):
                found = await committed(self._admin, group, [to_aiokafka(partition) for partition in partitions])
        known = {from_aiokafka(place): position_from(one) for place, one in found.items()}
        return {partition: known.get(partition) for partition in partitions}

    async def _lag(self, group: str, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """Between the group's position, or the earliest record, and the end."""
        places = [to_aiokafka(partition) for partition in partitions]
        if not places:
            return {}
        with translated():
            first, following, positions = await asyncio.gather(
                self._reader.beginning_offsets(places),
                self._reader.end_offsets(places),
                self._positions(group, partitions),
            )
        behind = {}
        for place, (partition, position) in zip(places, positions.items(), strict=True):
            done = max(first[place], 0 if position is None else position.next_offset)
            behind[partition] = following[place] - done
            if self.atomic and 0 < behind[partition] <= MARKERS and not await self.read(partition, done, 1):
                behind[partition] = 0
        return behind
