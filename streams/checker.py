"""Checks the promise from outside: reads topics and index, and says what is missing, doubled or left over.

enriched ∪ dead = accepted, and no points for a frame whose last state is dead. Meant for a deployment at rest (lag
0); what is still in flight counts as missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeVar

from schemas import codec, topics
from schemas.errors import SchemaError
from schemas.events import FrameEvent
from schemas.identity import unknown_frame_id
from stores.index import Index
from streams.deadletters import ANSWERS_HEADER, PAGE_RECORDS
from streams.deletions import Deletions
from streams.transport import Record, Transport

State = Literal["enriched", "dead"]
T = TypeVar("T")


@dataclass(slots=True)
class Findings:
    """Frame ids by what is wrong with them, and the counts; empty lists mean that the promise was kept."""

    accepted: int = 0
    enriched: int = 0
    dead: int = 0
    repeated: int = 0
    """Terminal states written more than once; allowed, ids stay."""
    missing: list[str] = field(default_factory=list)
    """Accepted, and neither enriched nor dead nor deleted."""
    unknown: list[str] = field(default_factory=list)
    """Enriched or dead, and never accepted."""
    points_of_dead: list[str] = field(default_factory=list)
    points_missing: list[str] = field(default_factory=list)
    """Enriched with embeddings done, and without a point."""
    orphans: list[str] = field(default_factory=list)
    """Points of frames that are not enriched, or deleted, or whose event says that there is none."""
    doubled: list[str] = field(default_factory=list)
    """Frames with more than one point of their own."""

    @property
    def kept(self) -> bool:
        wrong = (self.missing, self.unknown, self.points_of_dead, self.points_missing, self.orphans, self.doubled)
        return not any(wrong)


async def check(
    transport: Transport, index: Index, collections: Sequence[str], *, embedded_by: str = "embed"
) -> Findings:
    """Compare what was accepted with its last states and its points in `collections` (frames' and regions').

    A frame has a point of its own where the stage `embedded_by` stands in its trace.
    """
    accepted = {_identity(record) async for record in records(transport, topics.RAW)}
    states, traced, written = await _last_states(transport)
    found = Findings(accepted=len(accepted), repeated=written - len(states))
    found.enriched = sum(state == "enriched" for state in states.values())
    found.dead = len(states) - found.enriched
    deletions = Deletions(transport)
    deleted = set(await deletions.catch_up())
    found.missing = sorted(accepted - states.keys() - deleted)
    found.unknown = sorted(states.keys() - accepted)
    embedded = {frame for frame in traced if embedded_by in traced[frame] and states[frame] == "enriched"} - deleted
    for collection in collections:
        owners = await _owners(index, collection)
        found.points_of_dead += sorted(frame for frame in owners if states.get(frame) == "dead")
        found.orphans += sorted(frame for frame in owners if frame not in states or frame not in embedded)
        if collection.startswith("frames-"):
            found.points_missing += sorted(embedded - owners.keys())
            found.doubled += sorted(frame for frame, times in owners.items() if times > 1)
    return found


async def records(transport: Transport, topic: str) -> AsyncIterator[Record]:
    """Everything on a topic, partition by partition."""
    for partition, (first, end) in (await transport.ends(topic)).items():
        offset = first
        while offset < end:
            page = await transport.read(partition, offset, PAGE_RECORDS)
            if not page:
                break
            for record in page:
                yield record
            offset = page[-1].offset + 1


def _identity(record: Record) -> str:
    """The frame's id, as the worker makes it."""
    try:
        return codec.decode_frame(record.value, record.headers, appended_seconds=record.timestamp).event.id
    except SchemaError:
        return unknown_frame_id(record.partition.topic, record.partition.index, record.offset)


async def _last_states(transport: Transport) -> tuple[dict[str, State], dict[str, frozenset[str]], int]:
    """Each frame's last state by time, the stages that its last enriched event went through, and all states written."""
    last: dict[str, tuple[datetime, State]] = {}
    traced: dict[str, tuple[datetime, frozenset[str]]] = {}
    written = 0
    async for record in records(transport, topics.ENRICHED):
        event = codec.decode_frame(record.value, record.headers).event
        when = event.published or event.ingested
        written += 1
        _keep_later(last, event.id, when, "enriched")
        _keep_later(traced, event.id, when, _stages(event))
    async for record in records(transport, topics.DEAD):
        if ANSWERS_HEADER not in record.headers:
            letter = codec.decode_dead(record.value, record.headers)
            written += 1
            _keep_later(last, letter.id, letter.died, "dead")
    states: Mapping[str, State] = {frame: state for frame, (_, state) in last.items()}
    return dict(states), {frame: stages for frame, (_, stages) in traced.items()}, written


def _stages(event: FrameEvent) -> frozenset[str]:
    return frozenset(entry.stage for entry in event.trace)


def _keep_later(kept: dict[str, tuple[datetime, T]], frame: str, when: datetime, value: T) -> None:
    if frame not in kept or kept[frame][0] <= when:
        kept[frame] = (when, value)


async def _owners(index: Index, collection: str) -> Counter[str]:
    """How many points each frame has in a collection."""
    owners: Counter[str] = Counter()
    after: str | None = None
    while True:
        page, after = await index.scroll(collection, limit=1000, after=after)
        owners.update(str(hit.payload["frame"]) for hit in page)
        if after is None:
            return owners
