"""Checks the promise from outside: reads topics and index, and says what is missing, doubled or left over.

enriched ∪ dead = accepted, and no points for a frame whose last state is dead. Meant for a deployment at rest (lag
0); what is still in flight counts as missing. Reading and judging are apart: a `Snapshot` may be kept and judged later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from msgspec import Struct

from schemas import codec, points, topics
from schemas.errors import SchemaError
from schemas.events import FrameEvent, Kind
from schemas.identity import unknown_frame_id
from stores.index import Index
from streams.lifecycle.dead_letters import ANSWERS_HEADER, PAGE_RECORDS
from streams.lifecycle.deletions import Deletions
from streams.transport import Record, Transport

State = Literal["enriched", "dead"]


class Accepted(Struct, frozen=True):
    """A record of `frames.raw`: where it lies, and whose it is."""

    frame: str
    feed: str
    kind: Kind
    partition: int
    offset: int


class Told(Struct, frozen=True):
    """A terminal state as it stands on a topic; `feed` is `tenant/feed`, `reason` a dead letter's."""

    frame: str
    state: State
    feed: str
    partition: int
    offset: int
    when: datetime
    stages: frozenset[str] = frozenset()
    reason: str = ""


class Snapshot(Struct, frozen=True):
    """Everything that the promise is about, as it was found: topics in order, and how many points each frame has."""

    accepted: list[Accepted]
    told: list[Told]
    deleted: frozenset[str]
    owners: dict[str, dict[str, int]]
    """By collection, by frame."""


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
    return judge(await snapshot(transport, index, collections), embedded_by=embedded_by)


async def snapshot(transport: Transport, index: Index, collections: Sequence[str]) -> Snapshot:
    return Snapshot(
        accepted=[_accepted(record) async for record in records(transport, topics.RAW)],
        told=[_enriched(record) async for record in records(transport, topics.ENRICHED)]
        + [_dead(record) async for record in records(transport, topics.DEAD) if ANSWERS_HEADER not in record.headers],
        deleted=frozenset(await Deletions(transport).catch_up()),
        owners={collection: await _owners(index, collection) for collection in collections},
    )


def judge(found: Snapshot, *, embedded_by: str = "embed") -> Findings:
    accepted = {one.frame for one in found.accepted}
    last = _last(found.told)
    findings = Findings(accepted=len(accepted), repeated=len(found.told) - len(last))
    findings.enriched = sum(told.state == "enriched" for told in last.values())
    findings.dead = len(last) - findings.enriched
    findings.missing = sorted(accepted - last.keys() - found.deleted)
    findings.unknown = sorted(last.keys() - accepted)
    embedded = {frame for frame, told in last.items() if embedded_by in told.stages} - found.deleted
    for collection, owners in found.owners.items():
        findings.points_of_dead += sorted(one for one in owners if one in last and last[one].state == "dead")
        findings.orphans += sorted(one for one in owners if one not in last or one not in embedded)
        if points.holds_frames(collection):
            findings.points_missing += sorted(embedded - owners.keys())
            findings.doubled += sorted(one for one, times in owners.items() if times > 1)
    return findings


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


def _accepted(record: Record) -> Accepted:
    """The frame as the worker makes it."""
    partition, offset = record.partition.index, record.offset
    try:
        event = codec.decode_frame(record.value, record.headers, appended_seconds=record.timestamp).event
    except SchemaError:
        return Accepted(unknown_frame_id(record.partition.topic, partition, offset), "", "still", partition, offset)
    return Accepted(event.id, _feed(event), event.kind, partition, offset)


def _enriched(record: Record) -> Told:
    event = codec.decode_frame(record.value, record.headers).event
    stages, when = frozenset(entry.stage for entry in event.trace), event.published or event.ingested
    return Told(event.id, "enriched", _feed(event), record.partition.index, record.offset, when, stages)


def _dead(record: Record) -> Told:
    letter = codec.decode_dead(record.value, record.headers)
    feed, partition = f"{letter.tenant}/{letter.feed}", record.partition.index
    return Told(letter.id, "dead", feed, partition, record.offset, letter.died, reason=letter.reason)


def _feed(event: FrameEvent) -> str:
    return f"{event.tenant}/{event.feed}"


def _last(told: Sequence[Told]) -> dict[str, Told]:
    """Each frame's last state by time; of equal times the one that stands later."""
    last: dict[str, Told] = {}
    for one in told:
        if one.frame not in last or last[one.frame].when <= one.when:
            last[one.frame] = one
    return last


async def _owners(index: Index, collection: str) -> dict[str, int]:
    """How many points each frame has in a collection."""
    owners: Counter[str] = Counter()
    after: str | None = None
    while True:
        page, after = await index.scroll(collection, limit=1000, after=after)
        owners.update(str(hit.payload["frame"]) for hit in page)
        if after is None:
            return dict(owners)
