"""One cluster without a group: its topics, offsets and groups' positions, and records read from any of them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from streams.errors import Forbidden, PlanError, Unavailable
from streams.kafka import topic_changes, topics
from streams.kafka.aiokafka_internals.fetcher import patch_consumer, raw_records
from streams.kafka.conversion import from_aiokafka, position_from, to_aiokafka
from streams.kafka.diagnosis import connection_fault
from streams.kafka.failures import Access, translated
from streams.kafka.fetched_records import runs
from streams.kafka.group_offsets import committed_offsets
from streams.kafka.groups import ListedGroup, delete_group, list_groups
from streams.kafka.settings import KafkaSettings
from streams.transport import Group, GroupPosition, Partition, Position, Record, TopicSpec

MARKERS = 1024
"""Transactions leave markers in the log, and what was aborted. A lag of at most this many offsets is checked for a
record among them; a larger one when the group stands still."""

READ_MILLISECONDS = 50
"""Wait of one read. Records that exist come at once; a transaction's marker is no record, and would be waited for."""

FETCH_MILLISECONDS = 10
"""The reader jumps from partition to partition: a fetch that waits for news of the last one holds up the next."""


@dataclass(frozen=True, slots=True)
class _FirstRecord:
    """What is known of a partition: from offset `start` on, no record lies before `first`."""

    start: int
    first: int
    is_record: bool


class ClusterClient:
    """An admin client and a reader; `connect` makes one. Safe for use from several tasks."""

    def __init__(self, settings: KafkaSettings, admin: AIOKafkaAdminClient, reader: AIOKafkaConsumer) -> None:
        self._settings, self._admin, self._reader = settings, admin, reader
        self._reading = asyncio.Lock()
        self.specs: Mapping[str, TopicSpec] = {}
        """Topics as they were when they were last loaded."""
        self._first_records: dict[Partition, _FirstRecord] = {}
        self._standing: dict[tuple[str, Partition], int] = {}
        """By group, where it stood when its lag was last asked for."""

    @classmethod
    async def connect(cls, settings: KafkaSettings) -> ClusterClient:
        """Raises Unavailable, Forbidden."""
        keys = settings.client()
        admin = AIOKafkaAdminClient(**keys)
        reader = AIOKafkaConsumer(
            **keys,
            auto_offset_reset="none",
            isolation_level="read_committed",
            fetch_max_wait_ms=FETCH_MILLISECONDS,
        )
        client = cls(settings, admin, reader)
        try:
            try:
                with translated():
                    await admin.start()
                    await reader.start()
            except Unavailable as error:
                fault = await connection_fault(settings)
                raise Unavailable(f"{error}; {fault}" if fault else str(error)) from error
            patch_consumer(reader, raw_records(compiled=settings.compiled))
            await client.load()
        except BaseException:
            await client.close()
            raise
        return client

    async def close(self) -> None:
        await self._reader.stop()
        await self._admin.close()

    async def load(self) -> None:
        """Read the topics again."""
        with translated():
            self.specs = {name: topic.spec for name, topic in (await topics.describe(self._admin)).items()}

    async def learn(self, names: Collection[str]) -> None:
        """Load topics that another process may have created. Raises PlanError naming those that do not exist."""
        if not self.specs.keys() >= set(names):
            await self.load()
        if missing := [name for name in names if name not in self.specs]:
            with translated():
                await topics.check_visible(self._admin, missing)
            raise PlanError([f"topic {name}: it does not exist" for name in missing])

    async def create(self, specs: Sequence[TopicSpec]) -> None:
        """See `streams.transport.Transport.create`."""
        with translated():
            await topics.create(self._admin, specs, self._settings.replicas, self._settings.request_seconds)
        await self.load()

    async def differences(self, specs: Sequence[TopicSpec]) -> list[str]:
        """See `streams.transport.Transport.differences`."""
        with translated():
            return await topics.compare(self._admin, specs, self._settings.replicas)

    async def apply(self, specs: Sequence[TopicSpec]) -> list[str]:
        """See `streams.transport.Transport.apply`."""
        with translated():
            settings = self._settings
            changes = await topic_changes.apply(self._admin, specs, settings.replicas, settings.request_seconds)
        await self.create(specs)
        return changes

    async def partitions(self, names: Sequence[str]) -> list[Partition]:
        await self.learn(names)
        return [Partition(name, number) for name in names for number in range(self.specs[name].partitions)]

    async def ends(self, topic: str) -> Mapping[Partition, tuple[int, int]]:
        """First and next offset of every partition."""
        partitions = [to_aiokafka(partition) for partition in await self.partitions([topic])]
        with translated():
            first, following = await asyncio.gather(
                self._reader.beginning_offsets(partitions), self._reader.end_offsets(partitions)
            )
        return {from_aiokafka(partition): (first[partition], following[partition]) for partition in partitions}

    async def read(self, partition: Partition, offset: int, max_records: int) -> Sequence[Record]:
        """Committed records from `offset` on."""
        topic_partition, records = to_aiokafka(partition), list[Record]()
        first, following = (await self.ends(partition.topic))[partition]
        async with self._reading:
            reader = self._reader
            reader.assign([topic_partition])
            position = max(offset, first)
            with translated(Access("Read", [partition.topic])):
                async with asyncio.timeout(self._settings.request_seconds):
                    while position < following and len(records) < max_records:
                        reader.seek(topic_partition, position)
                        left = max_records - len(records)
                        fetched = await reader.getmany(topic_partition, timeout_ms=READ_MILLISECONDS, max_records=left)
                        for run in runs(partition, -1, fetched.get(topic_partition, ())):
                            records += run.take(max_records - len(records))
                        position = await reader.position(topic_partition)
                reader.assign([])  # or it would go on fetching this partition
        return records

    async def positions(self, group: str, partitions: Sequence[Partition]) -> Mapping[Partition, Position | None]:
        """The group's positions, with no transaction about to move them; None where it never committed."""
        with translated(Access("Describe", {partition.topic for partition in partitions}, group)):
            async with asyncio.timeout(self._settings.request_seconds):
                committed = await committed_offsets(self._admin, group, list(map(to_aiokafka, partitions)))
        known = {from_aiokafka(partition): position_from(offset) for partition, offset in committed.items()}
        return {partition: known.get(partition) for partition in partitions}

    async def lag(self, group: str, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """Offsets between the group's position, or the earliest record, and the end; 0 if none of them is a record.

        Any producer may write transactions, whatever this deployment's own delivery is.
        """
        topic_partitions = [to_aiokafka(partition) for partition in partitions]
        if not topic_partitions:
            return {}
        with translated():
            first, following, positions = await asyncio.gather(
                self._reader.beginning_offsets(topic_partitions),
                self._reader.end_offsets(topic_partitions),
                self.positions(group, partitions),
            )
        lag = {}
        for topic_partition, (partition, position) in zip(topic_partitions, positions.items(), strict=True):
            done = max(first[topic_partition], 0 if position is None else position.next_offset)
            end = following[topic_partition]
            lag[partition] = end - done if done < end and await self._has_record(group, partition, done, end) else 0
        return lag

    async def groups(self, prefix: str) -> Mapping[str, Group]:
        """See `streams.transport.Transport.groups`; the cluster does not say how many bytes a group holds back."""
        await self.load()
        with translated(Access("Describe")):
            async with asyncio.timeout(self._settings.request_seconds):
                listed = await list_groups(self._admin, prefix)
        return {name: Group(group.members, await self._group_positions(name, group)) for name, group in listed.items()}

    async def _group_positions(self, name: str, group: ListedGroup) -> dict[Partition, GroupPosition]:
        """In topics that exist: those of a deleted one are kept by the cluster for a while."""
        partitions = await self.partitions(sorted(group.topics & self.specs.keys()))
        lag = await self.lag(name, partitions)
        ends = {topic: await self.ends(topic) for topic in {partition.topic for partition in partitions}}
        positions = {}
        for partition in partitions:
            first, end = ends[partition.topic][partition]
            start, left = max(group.committed.get(partition, 0), first), lag[partition]
            if start > end:  # of a log that was replaced: a worker stops there, and has finished nothing of it
                start, left = first, end - first
            oldest = await self._appended(partition, start) if left else None
            positions[partition] = GroupPosition(start, left, partition in group.owned, oldest)
        return positions

    async def _appended(self, partition: Partition, offset: int) -> float | None:
        """When the record there, or the first one behind it, was appended."""
        try:
            page = await self.read(partition, offset, 1)
        except Forbidden:
            return None
        return page[0].timestamp if page else None

    async def forget(self, group: str) -> None:
        with translated(Access("Delete", group=group)):
            await delete_group(self._admin, group)

    async def cut(self, partition: Partition, before: int) -> None:
        """Raises Forbidden where this user may not delete records."""
        before = min(before, (await self.ends(partition.topic))[partition][1])
        with translated(Access("Delete", [partition.topic])):
            await self._admin.delete_records({to_aiokafka(partition): RecordsToDelete(before)})

    async def _has_record(self, group: str, partition: Partition, start: int, end: int) -> bool:
        """Whether an offset from `start` to before `end` is a record, as far as it is worth a reading."""
        known = self._first_records.get(partition)
        if known is not None and known.start <= start <= known.first <= end:
            if known.is_record and known.first < end:
                return True
            first = known.first
        else:
            stands = self._standing.get((group, partition)) == start
            self._standing[group, partition] = start
            if end - start > MARKERS and not stands:
                return True
            first = start
        try:
            page = await self.read(partition, first, 1) if first < end else ()
        except Forbidden:
            return True  # a user who only writes to a topic may ask how far its readers are
        self._first_records[partition] = _FirstRecord(start, page[0].offset if page else end, bool(page))
        return bool(page)
