"""The runtime's contract with a durable partitioned log; `sqlite://` and `kafka://` implement it.

Delivery is at least once. A consumer group shares a topic's partitions. Each assignment of a partition carries an
*epoch*, which grows with every assignment. All work on a partition is tagged with it, so that work from before a
rebalance cannot commit afterwards. Records of one partition arrive in offset order.

Types that are made or hashed once per record are msgspec structs: they take a tenth of a frozen dataclass's time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec


class Partition(msgspec.Struct, frozen=True, order=True, gc=False, cache_hash=True):
    topic: str
    index: int


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record as it was read. `timestamp` is seconds since the epoch, set when it was appended, or by its producer."""

    partition: Partition
    offset: int
    epoch: int
    key: bytes
    value: bytes | None
    """None is a tombstone on a compacted topic."""
    headers: Mapping[str, bytes]
    timestamp: float
    fault: str = ""
    """Why the log could not give its key, value and headers, which are empty then."""


class NewRecord(msgspec.Struct, frozen=True, gc=False):
    """A record to write; its partition is murmur2 of the key, as Kafka's default partitioner has it."""

    topic: str
    key: bytes
    value: bytes | None
    headers: Mapping[str, bytes] = msgspec.field(default_factory=dict)


class Position(msgspec.Struct, frozen=True, gc=False):
    """A group's position in a partition.

    `next_offset` is the first offset not finished. `attempts` counts assignments that started here without
    finishing anything. It is committed with the position, so a frame that kills its process can be found.
    """

    next_offset: int
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class GroupPosition:
    """What a group has not finished of one partition."""

    next_offset: int
    """The first offset that is not finished; the partition's first one where the group never committed."""
    lag: int
    has_member: bool = False
    """Whether a live member of the group owns the partition."""
    oldest: float | None = None
    """When the first unfinished record was appended, seconds since the epoch; None: there is none."""
    held_bytes: int | None = None
    """Bytes of the unfinished records, possibly estimated; None: the log does not say."""


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group as the log knows it, with or without members."""

    members: int
    positions: Mapping[Partition, GroupPosition]
    """By partition of the topics that it reads or has read."""
    last_seen: float | None = None
    """When a member was last there, seconds since the epoch; None: the log does not say."""


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic's settings; `compacted` keeps the last value per key, else `retention_seconds` bounds it."""

    name: str
    partitions: int
    compacted: bool = False
    retention_seconds: float | None = None
    retention_bytes: int | None = None
    max_record_bytes: int = 1 << 20
    finished_by: tuple[str, ...] = ()
    """Groups that have to finish a record before it is dropped, registered yet or not; Kafka ignores them."""


class Listener(Protocol):
    """Is told of assignments. Both calls are awaited before the transport goes on."""

    async def assigned(self, partitions: Mapping[Partition, int]) -> None:
        """These partitions are ours now, with these epochs. Called before any record of them is returned.

        Empty where a rebalance left this member without partitions.
        """

    async def revoked(self, partitions: Sequence[Partition]) -> None:
        """Drain and commit them now, under the consumer's drain deadline. Afterwards their epochs are void.

        Also called when ownership is already lost (a lease ran out): a commit then raises `Fenced`.
        """


class Consumer(Protocol):
    """One member of a consumer group. Only `commit` and `lag` may be called from several tasks."""

    async def poll(self, max_records: int, timeout_seconds: float) -> Sequence[Record]:
        """At most `max_records` records, taking turns between partitions; empty after the timeout.

        Raises Unavailable, Gap (naming the partition, which is paused while others go on).
        """

    async def keep_alive(self) -> None:
        """Keep membership without taking records, while queues are full or the index is away."""

    def assignment(self) -> Mapping[Partition, int]:
        """Partitions held now and their epochs."""

    async def committed(self, partition: Partition) -> Position | None:
        """The group's position in the partition; None if it never committed (it starts at the earliest)."""

    async def commit(self, positions: Mapping[Partition, Position], epochs: Mapping[Partition, int]) -> None:
        """Make positions durable. A partition whose epoch is not current is left out and counted.

        Raises Fenced when all were left out, Unavailable.
        """

    async def publish_and_commit(
        self,
        outgoing: Sequence[NewRecord],
        positions: Mapping[Partition, Position],
        epochs: Mapping[Partition, int],
    ) -> None:
        """Write outputs and positions in one transaction, where `Transport.atomic`. Raises Fenced: nothing written.

        Call it with one partition at a time: Kafka fences a former owner by partition. After Unavailable the outcome is
        unknown; the same call again finds out and writes nothing twice.
        """

    async def lag(self) -> Mapping[Partition, int]:
        """Records between the committed position and the partition's end, for the held partitions."""

    async def close(self) -> None:
        """Leave the group (calling `revoked` first) and release everything. May be called twice."""


class Transport(Protocol):
    """A durable partitioned log with consumer groups; `open` before use, `close` after."""

    atomic: bool
    """Whether outputs and positions can be written in one transaction."""
    drops_unfinished: bool
    """Whether a topic's retention also drops records that no group has finished."""

    async def open(self, wait_seconds: float | None = None) -> None:
        """Wait up to `wait_seconds` for a log that is away; None: as long as one request may take.

        Raises Unavailable. Until it is open, so does every other call but `close`.
        """

    async def close(self) -> None: ...

    async def create(self, topics: Sequence[TopicSpec]) -> None:
        """Create missing topics. Raises PlanError naming each existing one that differs, how, and the way out.

        The embedded log gives existing topics the limits that are wanted, and says so.
        """

    async def differences(self, topics: Sequence[TopicSpec]) -> list[str]:
        """How existing topics differ from these, and what ends each difference; nothing is changed."""

    async def apply(self, topics: Sequence[TopicSpec]) -> list[str]:
        """As `create`, and existing topics get the settings that may be changed; a line for each change.

        Raises PlanError naming what cannot be changed here, and the way out; nothing is changed then.
        """

    async def topics(self) -> Mapping[str, TopicSpec]: ...

    async def believes_clock(self) -> bool:
        """Whether the wall clock runs evenly, as far as the log knows: after a jump nothing may go for its age.

        Kafka does not know, and says yes.
        """
        ...

    async def publish(self, records: Sequence[NewRecord]) -> None:
        """Append and return once durable; after an error some may be written. Raises LogFull, TooLarge, Unavailable."""

    async def consumer(self, group: str, topics: Sequence[str], listener: Listener) -> Consumer:
        """Join `group`. From then on it is registered: records that it has not finished are kept."""

    async def read(self, partition: Partition, offset: int, max_records: int) -> Sequence[Record]:
        """Read without a group, for `show`, `dead list` and pages (epoch is -1)."""

    async def ends(self, topic: str) -> Mapping[Partition, tuple[int, int]]:
        """First and next offset of every partition."""

    async def group_lag(self, group: str, topics: Sequence[str]) -> Mapping[Partition, int]:
        """A group's lag, whether or not anyone is in it (`lossless` sources watch it)."""

    async def groups(self, prefix: str = "") -> Mapping[str, Group]:
        """Every group that the log knows and whose name begins with `prefix`, with what it has not finished."""

    async def forget(self, group: str) -> None:
        """Remove a group with its positions: nothing is kept for it any more, and it would start at the earliest.

        A group that is not there is no error. Raises GroupInUse where the log refuses it while there are members.
        """

    async def cut(self, partition: Partition, before: int) -> None:
        """Drop a partition's records before an offset, finished or not. Groups that were not past it get a Gap."""

    async def erase(self, partition: Partition, offsets: Sequence[int]) -> Sequence[int]:
        """Remove single records that every group has finished. Returns the offsets that stay.

        Kafka cannot, so all of them stay until retention drops them.
        """
        ...
