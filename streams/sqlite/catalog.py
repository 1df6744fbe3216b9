"""The topics of a log and their partitions' row ids, cached; of a topic that is there only its limits change."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any

from streams.errors import PlanError
from streams.sqlite.schema import create_records
from streams.transport import Partition, TopicSpec

COLUMNS = ", ".join(field.name for field in fields(TopicSpec))
FINISHED_BY = "finished_by"
CHANGEABLE = ("retention_seconds", "retention_bytes", "max_record_bytes", FINISHED_BY)
FIXED = {
    "partitions": "a log's partitions are fixed, because a key's records stay in one: keep `partitions` as it was, or"
    " choose a new data folder with --data and ingest again",
    "compacted": "this is a topic of another kind: choose a new data folder with --data",
}
"""By setting of a topic that is there: what to do where another one is wanted."""


@dataclass(frozen=True, slots=True)
class Change:
    """A setting of a topic that was changed."""

    topic: str
    field: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"topic {self.topic}: {self.field} is {self.before}, wanted {self.after}"


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

    def create(self, connection: sqlite3.Connection, specs: Sequence[TopicSpec]) -> list[Change]:
        """Create missing topics and change what may change of existing ones; returns what was changed.

        Raises PlanError naming every difference that cannot be changed, before the first write.
        """
        self.check(connection, specs)
        changes = [change for spec in specs if spec.name in self._topics for change in self._changes(spec)]
        for change in changes:
            connection.execute(
                f"UPDATE topics SET {change.field} = ? WHERE name = ?",  # noqa: S608 - our own columns
                (json.dumps(change.after) if change.field == FINISHED_BY else change.after, change.topic),
            )
        for spec in specs:
            if spec.name not in self._topics:
                _create(connection, spec)
        return changes

    def check(self, connection: sqlite3.Connection, specs: Sequence[TopicSpec]) -> bool:
        """Whether `create` has anything to do. Raises PlanError as it does."""
        self.load(connection)
        reasons = [f"topic {spec.name}: it needs a partition" for spec in specs if spec.partitions < 1]
        reasons += [reason for spec in specs if spec.name in self._topics for reason in self._differences(spec)]
        if reasons:
            raise PlanError(reasons)
        return any(spec.name not in self._topics or self._changes(spec) for spec in specs)

    def compare(self, connection: sqlite3.Connection, specs: Sequence[TopicSpec]) -> list[str]:
        """A line for each setting in which a topic that is there differs."""
        self.load(connection)
        present = [spec for spec in specs if spec.name in self._topics]
        fixed = [reason for spec in present for reason in self._differences(spec)]
        changes = [change for spec in present for change in self._changes(spec) if change.field != FINISHED_BY]
        return fixed + [f"{change}; to change it: `sightline topics apply`" for change in changes]

    def _differences(self, wanted: TopicSpec) -> list[str]:
        spec = self._topics[wanted.name].spec
        return [
            f"topic {wanted.name}: {name} is {getattr(spec, name)}, wanted {getattr(wanted, name)}; {remedy}"
            for name, remedy in FIXED.items()
            if getattr(spec, name) != getattr(wanted, name)
        ]

    def _changes(self, wanted: TopicSpec) -> list[Change]:
        spec = self._topics[wanted.name].spec
        return [
            Change(wanted.name, name, getattr(spec, name), getattr(wanted, name))
            for name in CHANGEABLE
            if getattr(spec, name) != getattr(wanted, name)
        ]


def _spec(row: tuple[str, int, int, float | None, int | None, int, str]) -> TopicSpec:
    name, partitions, compacted, retention_seconds, retention_bytes, max_record_bytes, finished_by = row
    return TopicSpec(
        name,
        partitions,
        compacted=bool(compacted),
        retention_seconds=retention_seconds,
        retention_bytes=retention_bytes,
        max_record_bytes=max_record_bytes,
        finished_by=tuple(json.loads(finished_by)),
    )


def _create(connection: sqlite3.Connection, spec: TopicSpec) -> None:
    (topic_id,) = connection.execute(
        f"INSERT INTO topics ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id",  # noqa: S608 - our own columns
        (*astuple(spec)[:-1], json.dumps(spec.finished_by)),
    ).fetchone()
    for number in range(spec.partitions):
        (partition_id,) = connection.execute(
            "INSERT INTO partitions (topic_id, number) VALUES (?, ?) RETURNING id", (topic_id, number)
        ).fetchone()
        create_records(connection, partition_id, compacted=spec.compacted)
