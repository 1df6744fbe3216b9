"""The topics of a log and their partitions' row ids, cached: a topic never changes once it is created."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import astuple, dataclass, fields

from streams.errors import PlanError
from streams.sqlite.schema import create_records
from streams.transport import Partition, TopicSpec

COLUMNS = ", ".join(field.name for field in fields(TopicSpec))


@dataclass(frozen=True, slots=True)
class Topic:
    spec: TopicSpec
    partition_ids: tuple[int, ...]

    def partitions(self) -> dict[Partition, int]:
        """Row ids by partition."""
        ids = enumerate(self.partition_ids)
        return {Partition(self.spec.name, number): partition_id for number, partition_id in ids}


class Catalog:
    """Safe in any thread: the mapping is replaced, never changed."""

    def __init__(self) -> None:
        self._topics: dict[str, Topic] = {}

    def topic(self, name: str) -> Topic:
        """Raises PlanError for a topic that did not exist at the last `load`."""
        if (topic := self._topics.get(name)) is None:
            raise PlanError([f"topic {name}: it does not exist"])
        return topic

    def knows(self, names: Collection[str]) -> bool:
        return self._topics.keys() >= set(names)

    def specs(self) -> dict[str, TopicSpec]:
        return {name: topic.spec for name, topic in self._topics.items()}

    def load(self, connection: sqlite3.Connection) -> None:
        ids: dict[str, list[int]] = {}
        for name, partition_id in connection.execute(
            "SELECT name, partitions.id FROM partitions JOIN topics ON topics.id = topic_id ORDER BY name, number"
        ):
            ids.setdefault(name, []).append(partition_id)
        rows = connection.execute(f"SELECT {COLUMNS} FROM topics").fetchall()  # noqa: S608 - our own columns
        self._topics = {spec.name: Topic(spec, tuple(ids[spec.name])) for spec in map(_spec, rows)}

    def create(self, connection: sqlite3.Connection, specs: Sequence[TopicSpec]) -> None:
        """Create missing topics. Raises PlanError naming every existing one that differs, before the first write."""
        self.load(connection)
        reasons = [f"topic {spec.name}: it needs a partition" for spec in specs if spec.partitions < 1]
        reasons += [reason for spec in specs if spec.name in self._topics for reason in self._differences(spec)]
        if reasons:
            raise PlanError(reasons)
        for spec in specs:
            if spec.name not in self._topics:
                _create(connection, spec)

    def _differences(self, wanted: TopicSpec) -> list[str]:
        spec = self._topics[wanted.name].spec
        return [
            f"topic {wanted.name}: {field.name} is {getattr(spec, field.name)}, wanted {getattr(wanted, field.name)}"
            for field in fields(TopicSpec)
            if getattr(spec, field.name) != getattr(wanted, field.name)
        ]


def _spec(row: tuple[str, int, int, float | None, int | None, int]) -> TopicSpec:
    name, partitions, compacted, retention_seconds, retention_bytes, max_record_bytes = row
    return TopicSpec(name, partitions, bool(compacted), retention_seconds, retention_bytes, max_record_bytes)


def _create(connection: sqlite3.Connection, spec: TopicSpec) -> None:
    (topic_id,) = connection.execute(
        f"INSERT INTO topics ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?) RETURNING id",  # noqa: S608 - our own columns
        astuple(spec),
    ).fetchone()
    for number in range(spec.partitions):
        (partition_id,) = connection.execute(
            "INSERT INTO partitions (topic_id, number) VALUES (?, ?) RETURNING id", (topic_id, number)
        ).fetchone()
        create_records(connection, partition_id, compacted=spec.compacted)
