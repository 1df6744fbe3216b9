"""What was acknowledged and when: one file of JSON lines per process, written as soon as the acknowledgement arrives.

A process that is killed between an acknowledgement and its line leaves the line out. The rules allow for that, but
never for a line without an acknowledgement. Times are seconds since boot, which all processes of a machine share.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec

from schemas import topics
from streams.transport import NewRecord, Partition, Position
from tests.support.deployment import identity

STATES = {topics.ENRICHED: "enriched", topics.DEAD: "dead"}


class Accept(msgspec.Struct, frozen=True, tag=True):
    """Frames whose records `frames.raw` acknowledged to their producer."""

    at: float
    frames: list[str]


class Publish(msgspec.Struct, frozen=True, tag=True):
    at: float
    state: str
    frames: list[str]


class Upsert(msgspec.Struct, frozen=True, tag=True):
    at: float
    collection: str
    frames: list[str]


class Delete(msgspec.Struct, frozen=True, tag=True):
    at: float
    collection: str
    frames: list[str]


class Commit(msgspec.Struct, frozen=True, tag=True):
    at: float
    partition: int
    next_offset: int
    attempts: int
    epoch: int


Entry: TypeAlias = Accept | Publish | Upsert | Delete | Commit
Histories: TypeAlias = Mapping[str, Sequence[Entry]]
"""By process."""


class History:
    """Appends to a file that only this process writes."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(folder / f"{name}-{os.getpid()}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def accepted(self, records: Sequence[NewRecord]) -> None:
        self._write([Accept(time.monotonic(), [identity(record) for record in records])])

    def published(self, records: Sequence[NewRecord]) -> None:
        frames: dict[str, list[str]] = {}
        for record in records:
            if (state := STATES.get(record.topic)) is not None and record.value:
                frames.setdefault(state, []).append(record.headers["ce_subject"].decode())
        self._write([Publish(time.monotonic(), state, ids) for state, ids in frames.items()])

    def upserted(self, collection: str, frames: Sequence[str]) -> None:
        self._write([Upsert(time.monotonic(), collection, list(frames))])

    def deleted(self, collection: str, frames: Sequence[str]) -> None:
        self._write([Delete(time.monotonic(), collection, list(frames))])

    def committed(self, positions: Mapping[Partition, Position], epochs: Mapping[Partition, int]) -> None:
        now = time.monotonic()
        self._write(
            [
                Commit(now, partition.index, position.next_offset, position.attempts, epochs[partition])
                for partition, position in positions.items()
                if partition.topic == topics.RAW
            ]
        )

    def _write(self, entries: Sequence[Entry]) -> None:
        """One write for all entries: a kill leaves all of them or none."""
        os.write(self._file, b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries))


def read(folder: Path) -> dict[str, list[Entry]]:
    """Every process's history; an incomplete last line, left by a kill, is dropped."""
    decoder = msgspec.json.Decoder(Entry)
    histories = {}
    for path in sorted(folder.glob("*.jsonl")):
        lines = path.read_bytes().split(b"\n")[:-1]
        histories[path.stem] = [decoder.decode(line) for line in lines]
    return histories
