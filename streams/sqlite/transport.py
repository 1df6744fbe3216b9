"""`sqlite:///path`: a durable partitioned log with consumer groups in one SQLite file, for any number of processes."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import msgspec
import structlog

from streams.errors import PlanError, Unavailable
from streams.sqlite import retention
from streams.sqlite.append import Appender
from streams.sqlite.catalog import FINISHED_BY, Catalog
from streams.sqlite.consumer import SqliteConsumer
from streams.sqlite.failures import DamagedRecord
from streams.sqlite.group_list import list_groups
from streams.sqlite.groups import Member, forget, lag
from streams.sqlite.log_file import is_read_only, prepare
from streams.sqlite.membership import Membership
from streams.sqlite.process_identity import boot_seconds, process_id
from streams.sqlite.record_batch import Batch
from streams.sqlite.record_rows import offsets, read_rows, to_records
from streams.sqlite.size_limit import Shares
from streams.sqlite.threads import Reader, Writer
from streams.sqlite.upkeep import Upkeep
from streams.sqlite.wall_clock import read as reading
from streams.tasks import in_daemon_thread
from streams.transport import Group, Listener, NewRecord, Partition, Record, TopicSpec
from streams.url_options import url_options

log = structlog.get_logger()


class LogSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Keys of the log; in a URL they follow as a query: `sqlite:///data/log.sqlite?max_bytes=1000000000`."""

    max_bytes: int = 16 << 30
    """What the log may take on the disk, with its write-ahead log; a log that is nearly full refuses records."""
    lease_seconds: float = 10.0
    """A member that does not renew its lease for this long loses its partitions; a dead process does at once."""
    drain_seconds: float = 30.0
    """How long a member may drain partitions that it has to hand over."""
    max_poll_seconds: float = 300.0
    """A member that neither polls nor keeps alive for this long no longer renews its lease, because it hangs."""
    retention_every_seconds: float = 30.0
    """How often old records are dropped; also when the log is opened and closed."""
    clock_hold_seconds: float = 21_600.0
    """After a jump of the wall clock no record is dropped for its age until the clock has run evenly for this long."""


class SqliteTransport:
    """See `streams.transport.Transport`.

    `boot` (seconds since boot, for leases) and `wall` (seconds since the epoch, for timestamps and retention) are
    injected by tests. Without `upkeep` the log is opened as it is: nothing is dropped for its age or for room.
    """

    atomic = True
    drops_unfinished = False

    def __init__(
        self,
        path: Path,
        settings: LogSettings | None = None,
        *,
        upkeep: bool = True,
        boot: Callable[[], float] = boot_seconds,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.path, self.settings = path, settings or LogSettings()
        self._boot, self._wall, self._has_upkeep = boot, wall, upkeep
        self._catalog = Catalog()
        self._shares = Shares(self.settings.max_bytes)
        self._appender = Appender(self._catalog, self._shares, wall)
        self._consumers: set[SqliteConsumer] = set()
        self._keeping: tuple[Upkeep, asyncio.Task[None]] | None = None
        self._threads: tuple[Reader, Writer | None] | None = None

    @classmethod
    def from_url(cls, url: str, *, upkeep: bool = True) -> SqliteTransport:
        """`sqlite:///relative`, `sqlite:////absolute`. Raises ValueError for other URLs and unknown keys."""
        parts = urlsplit(url)
        path = unquote(parts.path).removeprefix("/")
        if parts.scheme != "sqlite" or parts.netloc or not path:
            raise ValueError(f"{url}: use sqlite:///path (relative) or sqlite:////path (absolute)")
        return cls(Path(path), LogSettings(**url_options(parts.query, LogSettings)), upkeep=upkeep)

    async def open(self, wait_seconds: float | None = None) -> None:
        """Raises DamagedLog for a torn, foreign or newer file, Unavailable for one that cannot be opened."""
        await in_daemon_thread(partial(prepare, self.path))
        turns = threading.Lock()
        if is_read_only(self.path):
            self._threads = Reader(self.path, turns, read_only=True), None
            await self._load()
            return
        self._threads = reader, writer = Reader(self.path, turns), Writer(self.path, turns, self._shares.wal_bytes)
        await self._load()
        if not self._has_upkeep:
            return
        upkeep = Upkeep(
            self.path,
            self._catalog,
            (reader, writer),
            lambda: reading(self._wall(), self._boot()),
            hold_seconds=self.settings.clock_hold_seconds,
            max_bytes=self._shares.records_bytes,
        )
        await upkeep.trusted_now()
        keeping = asyncio.create_task(upkeep.keep(self.settings.retention_every_seconds), name="log-retention")
        self._keeping = upkeep, keeping

    async def close(self) -> None:
        for consumer in list(self._consumers):
            await consumer.close()
        if self._keeping is not None:
            (upkeep, keeping), self._keeping = self._keeping, None
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            await upkeep.end()
        if self._threads is not None:
            threads, self._threads = self._threads, None
            for thread in threads:
                if thread is not None:
                    await asyncio.to_thread(thread.close)

    async def create(self, topics: Sequence[TopicSpec]) -> None:
        """Create missing topics, and change the limits of those that are there; each change is a line in the log.

        Raises PlanError naming each difference that cannot be changed, and the way out.
        """
        if not await self._reader.run(lambda connection: self._catalog.check(connection, topics)):
            return
        for change in await self._writer.run(lambda connection: self._catalog.create(connection, topics)):
            if change.field != FINISHED_BY:
                log.warning(
                    "topic_changed", topic=change.topic, setting=change.field, before=change.before, now=change.after
                )
        await self._load()

    async def differences(self, topics: Sequence[TopicSpec]) -> list[str]:
        return await self._reader.run(lambda connection: self._catalog.compare(connection, topics))

    async def apply(self, topics: Sequence[TopicSpec]) -> list[str]:
        differences = await self.differences(topics)
        await self.create(topics)
        return [line.partition(";")[0] for line in differences]

    async def topics(self) -> Mapping[str, TopicSpec]:
        await self._load()
        return self._catalog.specs()

    async def believes_clock(self) -> bool:
        return await self._upkeep.trusted_now() is not None

    async def publish(self, records: Sequence[NewRecord]) -> None:
        await self._learn({record.topic for record in records})
        append = self._appender.records(records)
        await self._writer.run(append)
        self._published(append.batch)

    async def consumer(self, group: str, topics: Sequence[str], listener: Listener) -> SqliteConsumer:
        await self._learn(topics)
        partitions = {
            partition_id: partition for topic in topics for partition, partition_id in self._partitions(topic).items()
        }
        settings = self.settings
        member = Member(
            group=group,
            name=str(uuid4()),
            topics=tuple(topics),
            process=process_id(),
            lease_seconds=settings.lease_seconds,
            drain_seconds=settings.drain_seconds,
            clock=self._boot,
            wall=self._wall,
        )
        membership = Membership(self._writer, member, partitions, listener, settings.max_poll_seconds)
        consumer = SqliteConsumer(
            self._reader, self._writer, self._appender, membership, self._published, self._consumers.discard
        )
        await membership.join()
        self._consumers.add(consumer)
        return consumer

    async def read(self, partition: Partition, offset: int, max_records: int) -> Sequence[Record]:
        await self._learn([partition.topic])
        partition_id = self._partitions(partition.topic)[partition]
        rows, _ = await self._reader.run(lambda connection: read_rows(connection, partition_id, offset, max_records))
        try:
            return to_records(rows, partition, -1)
        except DamagedRecord as error:
            raise error.in_file(self.path) from error

    async def ends(self, topic: str) -> Mapping[Partition, tuple[int, int]]:
        await self._learn([topic])
        ids = self._partitions(topic)
        ends = await self._reader.run(lambda connection: offsets(connection, ids.values()))
        return {partition: ends[partition_id] for partition, partition_id in ids.items()}

    async def group_lag(self, group: str, topics: Sequence[str]) -> Mapping[Partition, int]:
        await self._learn(topics)
        ids = {
            partition: partition_id for topic in topics for partition, partition_id in self._partitions(topic).items()
        }
        lags = await self._reader.run(lambda connection: lag(connection, group, list(ids.values())))
        return {partition: lags[partition_id] for partition, partition_id in ids.items()}

    async def drop_old(self) -> None:
        """Apply retention and compaction now; they also run every `retention_every_seconds`."""
        await self._upkeep.drop_old()
        await self._upkeep.give_back()

    async def compact(self) -> tuple[int, int]:
        """Drop what is old and give all free space back to the disk; its bytes before and after.

        Other processes go on; a file of format 1 is rewritten, for which they wait.
        """
        return await self._upkeep.compact()

    async def cut(self, partition: Partition, before: int) -> None:
        """Drop a partition's records before an offset, finished or not: the way out of a full log.

        Groups that were not past it get a Gap, and their partition is paused.
        """
        await self._learn([partition.topic])
        partition_id = self._partitions(partition.topic)[partition]
        while await self._writer.run(partial(retention.cut, partition_id=partition_id, before=before)):
            pass

    async def erase(self, partition: Partition, offsets: Sequence[int]) -> Sequence[int]:
        await self._learn([partition.topic])
        partition_id = self._partitions(partition.topic)[partition]
        return await self._writer.run(lambda connection: retention.erase(connection, partition_id, offsets))

    async def groups(self, prefix: str = "") -> Mapping[str, Group]:
        await self._load()
        return await self._reader.run(partial(list_groups, prefix=prefix, now=self._boot()))

    async def forget(self, group: str) -> None:
        """Remove a group with its members and positions: nothing is kept for it any more."""
        await self._writer.run(lambda connection: forget(connection, group))

    @property
    def _upkeep(self) -> Upkeep:
        if self._keeping is None:
            self._writer  # noqa: B018 - it says what is missing
            raise Unavailable(f"{self.path}: the log is not open")
        return self._keeping[0]

    @property
    def _reader(self) -> Reader:
        return self._running[0]

    @property
    def _writer(self) -> Writer:
        if (writer := self._running[1]) is None:
            raise Unavailable(
                f"{self.path}: the folder cannot be written; make it writable, or choose another with --data"
            )
        return writer

    @property
    def _running(self) -> tuple[Reader, Writer | None]:
        if self._threads is None:
            raise Unavailable(f"{self.path}: the log is not open")
        return self._threads

    def _published(self, batch: Batch) -> None:
        """Records are in the log: this process's own consumers take them from memory."""
        for consumer in self._consumers:
            consumer.cache(batch)

    async def _load(self) -> None:
        await self._reader.run(self._catalog.load)

    async def _learn(self, topics: Collection[str]) -> None:
        """Load topics that another process may have created. Raises PlanError naming those that do not exist."""
        if not self._catalog.knows(topics):
            await self._load()
        if missing := [name for name in topics if not self._catalog.knows([name])]:
            raise PlanError([f"topic {name}: it does not exist" for name in missing])

    def _partitions(self, topic: str) -> dict[Partition, int]:
        return self._catalog.topic(topic).partitions()
