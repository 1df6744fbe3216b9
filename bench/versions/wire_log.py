"""The embedded log of a deployment, read without product code: tables, topics, groups, records.

Values are decoded into plain dictionaries, so renamed, added and missing fields show.
"""

from __future__ import annotations

import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

ACCEPTED = "sources.accepted"
TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?")
MAX_TIME_BYTES = 40
DAY = re.compile(r"(?<=/)\d{4}-\d\d-\d\d(?=/)")
"""In the URI of a blob."""
VOLATILE = frozenset({"worker", "queue_seconds", "compute_seconds", "latency_seconds", "batch_size"})
"""Fields that differ between any two runs. Defaults are omitted on the wire, so they can also be missing."""


class Record(NamedTuple):
    partition: int
    headers: dict[str, Any]
    value: Any


@dataclass(frozen=True)
class WireLog:
    """`records` by topic and key, in log order; `fields` are the paths of all fields in the records of a topic."""

    format: dict[str, Any]
    topics: dict[str, dict[str, Any]]
    groups: list[str]
    records: dict[str, dict[str, list[Record]]]
    fields: dict[str, list[str]]

    @property
    def count(self) -> int:
        return sum(len(records) for keys in self.records.values() for records in keys.values())


def read_log(path: Path) -> WireLog:
    """Raises sqlite3.Error for a file with other tables."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        topics = {row["name"]: dict(row) for row in connection.execute("SELECT * FROM topics ORDER BY name")}
        records = {name: _records(connection, name, topic["id"]) for name, topic in topics.items()}
        format_ = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        }
        tables = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
        format_["tables"] = [" ".join(row["sql"].split()) for row in tables]
        groups = [row["name"] for row in connection.execute("SELECT name FROM groups ORDER BY name")]
    fields = {
        name: sorted({path for found in keys.values() for record in found for path in _paths(record.value)})
        for name, keys in records.items()
    }
    settled = {name: {**topic, "id": "<id>"} for name, topic in topics.items()}
    return WireLog(format_, settled, groups, {name: _stable(keys) for name, keys in records.items()}, fields)


def _records(connection: sqlite3.Connection, topic: str, topic_id: int) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = defaultdict(list)
    partitions = connection.execute("SELECT id, number FROM partitions WHERE topic_id = ? ORDER BY number", (topic_id,))
    for partition in partitions.fetchall():
        rows = f"SELECT key, value, headers FROM records_{partition['id']:d} ORDER BY record_offset"  # noqa: S608 - an integer
        for row in connection.execute(rows):
            headers = msgspec.msgpack.decode(row["headers"], type=dict[str, bytes])
            record = Record(partition["number"], {name: _text(value) for name, value in headers.items()}, None)
            found[_text(row["key"])].append(record._replace(value=_decoded(row["value"], headers)))
    return _by_feed(found) if topic == ACCEPTED else dict(found)


def _decoded(value: bytes | None, headers: Mapping[str, bytes]) -> Any:
    """The original record within a dead letter is decoded too."""
    kind = headers.get("content-type", b"")
    if value is None or not kind.startswith(b"application/"):
        return value
    decoded = msgspec.json.decode(value) if kind.endswith(b"json") else msgspec.msgpack.decode(value)
    if isinstance(decoded, dict) and isinstance(decoded.get("headers"), dict) and "value" in decoded:
        decoded["value"] = _decoded(decoded["value"], decoded["headers"])
    return decoded


def _by_feed(found: Mapping[str, list[Record]]) -> dict[str, list[Record]]:
    """`sources.accepted` with one record per feed: how many frames share a record depends on timing."""
    joined: dict[str, list[Record]] = {}
    for key, records in found.items():
        for partition, headers, value in records:
            feed = key.rpartition("/")[0]
            headers = {**headers, "ce_id": "<id>", "ce_subject": "<id>"}
            before = joined[feed][0].value["frames"] if feed in joined else b""
            value = {**value, "frames": before + value["frames"]}
            joined[feed] = [Record(partition, headers, value)]
    return joined


def _text(value: bytes) -> Any:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def _stable(keys: Mapping[str, list[Record]]) -> dict[str, list[Record]]:
    return {
        key: [Record(record.partition, stable(record.headers), stable(record.value)) for record in records]
        for key, records in keys.items()
    }


def stable(value: Any) -> Any:
    """The value without what differs between any two runs."""
    if isinstance(value, dict):
        return {name: stable(each) for name, each in value.items() if name not in VOLATILE}
    if isinstance(value, (list, tuple)):
        return [stable(each) for each in value]
    if isinstance(value, str):
        return DAY.sub("<day>", TIME.sub("<time>", value))
    if isinstance(value, bytes) and len(value) <= MAX_TIME_BYTES:  # a header of the record within a dead letter
        return stable(text) if isinstance(text := _text(value), str) else value
    return "<moment>" if hasattr(value, "tzinfo") else value


def _paths(value: Any, path: str = "") -> Iterator[str]:
    """The paths of all scalar fields; the entries of a list share one path."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _paths(each, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for each in value:
            yield from _paths(each, f"{path}[]")
    else:
        yield path
