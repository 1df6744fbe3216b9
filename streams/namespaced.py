"""A transport that adds a namespace to the names of topics and groups, so that deployments share a cluster.

Everything else knows names without it. On Kafka, transactional ids and positions follow from these names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from msgspec.structs import replace as replace_struct

from streams.errors import StreamError
from streams.transport import Consumer, Group, Listener, NewRecord, Partition, Position, Record, TopicSpec, Transport

T = TypeVar("T")
REMEMBERED_PUBLISHES = 64
"""As many as a transport remembers to recognize a publish that is tried again."""


class NamespacedTransport:
    """See `streams.transport.Transport`; names on `transport` begin with `namespace` and a dot."""

    def __init__(self, transport: Transport, namespace: str) -> None:
        self._transport, self._names = transport, _Names(namespace)
        self.atomic, self.drops_unfinished = transport.atomic, transport.drops_unfinished
        self._unacknowledged: dict[tuple[int, ...], tuple[Sequence[NewRecord], Sequence[NewRecord]]] = {}
        """By the ids of records: these, which keep the ids theirs, and what the transport was given for them."""

    async def open(self, wait_seconds: float | None = None) -> None:
        await self._transport.open(wait_seconds)

    async def close(self) -> None:
        await self._transport.close()

    async def create(self, topics: Sequence[TopicSpec]) -> None:
        await self._transport.create([self._names.outer_spec(spec) for spec in topics])

    async def differences(self, topics: Sequence[TopicSpec]) -> list[str]:
        return await self._transport.differences([self._names.outer_spec(spec) for spec in topics])

    async def apply(self, topics: Sequence[TopicSpec]) -> list[str]:
        return await self._transport.apply([self._names.outer_spec(spec) for spec in topics])

    async def topics(self) -> Mapping[str, TopicSpec]:
        return self._names.inner_specs(await self._transport.topics())

    async def believes_clock(self) -> bool:
        return await self._transport.believes_clock()

    async def publish(self, records: Sequence[NewRecord]) -> None:
        """The transport recognizes records that it was given before: a second attempt gives the same ones."""
        key = tuple(map(id, records))
        _, given = self._unacknowledged.pop(key, (records, None))
        given = given or self._names.outer_records(records)
        try:
            await self._transport.publish(given)
        except StreamError:
            self._unacknowledged[key] = records, given
            if len(self._unacknowledged) > REMEMBERED_PUBLISHES:
                del self._unacknowledged[next(iter(self._unacknowledged))]
            raise

    async def consumer(self, group: str, topics: Sequence[str], listener: Listener) -> Consumer:
        names = self._names
        outer = [names.outer(topic) for topic in topics]
        consumer = await self._transport.consumer(names.outer(group), outer, _NamespacedListener(listener, names))
        return _NamespacedConsumer(consumer, names)

    async def read(self, partition: Partition, offset: int, max_records: int) -> Sequence[Record]:
        return self._names.inner_records(
            await self._transport.read(self._names.outer_partition(partition), offset, max_records)
        )

    async def ends(self, topic: str) -> Mapping[Partition, tuple[int, int]]:
        return self._names.inner_keys(await self._transport.ends(self._names.outer(topic)))

    async def group_lag(self, group: str, topics: Sequence[str]) -> Mapping[Partition, int]:
        names = self._names
        return names.inner_keys(
            await self._transport.group_lag(names.outer(group), [names.outer(topic) for topic in topics])
        )

    async def groups(self, prefix: str = "") -> Mapping[str, Group]:
        groups = await self._transport.groups(self._names.outer(prefix))
        return {self._names.inner(name): self._names.inner_group(group) for name, group in groups.items()}

    async def forget(self, group: str) -> None:
        await self._transport.forget(self._names.outer(group))

    async def cut(self, partition: Partition, before: int) -> None:
        await self._transport.cut(self._names.outer_partition(partition), before)

    async def erase(self, partition: Partition, offsets: Sequence[int]) -> Sequence[int]:
        return await self._transport.erase(self._names.outer_partition(partition), offsets)


class _NamespacedConsumer:
    """See `streams.transport.Consumer`."""

    def __init__(self, consumer: Consumer, names: _Names) -> None:
        self._consumer, self._names = consumer, names
        self.keep_alive, self.close = consumer.keep_alive, consumer.close

    async def poll(self, max_records: int, timeout_seconds: float) -> Sequence[Record]:
        return self._names.inner_records(await self._consumer.poll(max_records, timeout_seconds))

    def assignment(self) -> Mapping[Partition, int]:
        return self._names.inner_keys(self._consumer.assignment())

    async def committed(self, partition: Partition) -> Position | None:
        return await self._consumer.committed(self._names.outer_partition(partition))

    async def commit(self, positions: Mapping[Partition, Position], epochs: Mapping[Partition, int]) -> None:
        await self._consumer.commit(self._names.outer_keys(positions), self._names.outer_keys(epochs))

    async def publish_and_commit(
        self,
        outgoing: Sequence[NewRecord],
        positions: Mapping[Partition, Position],
        epochs: Mapping[Partition, int],
    ) -> None:
        names = self._names
        await self._consumer.publish_and_commit(
            names.outer_records(outgoing), names.outer_keys(positions), names.outer_keys(epochs)
        )

    async def lag(self) -> Mapping[Partition, int]:
        return self._names.inner_keys(await self._consumer.lag())


class _NamespacedListener:
    def __init__(self, listener: Listener, names: _Names) -> None:
        self._listener, self._names = listener, names

    async def assigned(self, partitions: Mapping[Partition, int]) -> None:
        await self._listener.assigned(self._names.inner_keys(partitions))

    async def revoked(self, partitions: Sequence[Partition]) -> None:
        await self._listener.revoked([self._names.inner_partition(partition) for partition in partitions])


class _Names:
    """Names on the transport (outer) and without the namespace (inner)."""

    def __init__(self, namespace: str) -> None:
        self._prefix = f"{namespace}."
        self._inner: dict[Partition, Partition] = {}

    def outer(self, name: str) -> str:
        return self._prefix + name

    def inner(self, name: str) -> str:
        return name.removeprefix(self._prefix)

    def inner_group(self, group: Group) -> Group:
        """With its positions in topics of the namespace."""
        positions = {
            self.inner_partition(partition): position
            for partition, position in group.positions.items()
            if partition.topic.startswith(self._prefix)
        }
        return replace(group, positions=positions)

    def outer_spec(self, spec: TopicSpec) -> TopicSpec:
        return replace(spec, name=self.outer(spec.name), finished_by=tuple(map(self.outer, spec.finished_by)))

    def inner_specs(self, specs: Mapping[str, TopicSpec]) -> dict[str, TopicSpec]:
        """Of the topics in the namespace; those of others are left out."""
        return {
            self._removed(name): replace(
                spec, name=self._removed(name), finished_by=tuple(map(self._removed, spec.finished_by))
            )
            for name, spec in specs.items()
            if name.startswith(self._prefix)
        }

    def _removed(self, name: str) -> str:
        return name.removeprefix(self._prefix)

    def outer_partition(self, partition: Partition) -> Partition:
        return Partition(self.outer(partition.topic), partition.index)

    def inner_partition(self, partition: Partition) -> Partition:
        """The same object each time: there are few, and each record has one."""
        inner = self._inner.get(partition)
        if inner is None:
            inner = Partition(partition.topic.removeprefix(self._prefix), partition.index)
            self._inner[partition] = inner
        return inner

    def outer_records(self, records: Sequence[NewRecord]) -> Sequence[NewRecord]:
        return [replace_struct(record, topic=self.outer(record.topic)) for record in records]

    def inner_records(self, records: Sequence[Record]) -> Sequence[Record]:
        return [replace_struct(record, partition=self.inner_partition(record.partition)) for record in records]

    def outer_keys(self, values: Mapping[Partition, T]) -> dict[Partition, T]:
        return {self.outer_partition(partition): value for partition, value in values.items()}

    def inner_keys(self, values: Mapping[Partition, T]) -> dict[Partition, T]:
        return {self.inner_partition(partition): value for partition, value in values.items()}
