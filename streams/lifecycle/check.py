"""Checks the promise from outside: reads topics and index, and reports what is missing, doubled or left over.

enriched ∪ dead = accepted, and no points for a frame whose last state is dead. Meant for a deployment at rest (lag 0);
frames in flight count as missing. Reading and judging are separate: a `Snapshot` may be kept and judged later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from msgspec import Struct

from schemas import codec, points, topics
from schemas.errors import SchemaError
from schemas.events import FrameEvent, Kind
from schemas.identity import unknown_frame_id
from stores.index import Index
from stores.pages import point_pages
from streams.lifecycle.dead_letters import CLOSES_HEADER
from streams.lifecycle.deletions import Deletions
from streams.lifecycle.kept_frames import KeptFrames, TrimmedFeeds
from streams.topic_reader import read_topic
from streams.transport import Record, Transport

State = Literal["enriched", "dead"]


class AcceptedFrame(Struct, frozen=True):
    """A record of `frames.raw` and its place; `feed` is `tenant/feed`."""

    frame: str
    feed: str
    kind: Kind
    partition: int
    offset: int


class TerminalState(Struct, frozen=True):
    """A terminal state as it stands on a topic; `feed` is `tenant/feed`, `reason` a dead letter's."""

    frame: str
    state: State
    feed: str
    partition: int
    offset: int
    when: datetime
    stages: frozenset[str] = frozenset()
    reason: str = ""
    model_set: str = ""
    """Of the points that the event tells of; empty: of any."""
    ingested: datetime | None = None


class Snapshot(Struct, frozen=True):
    """Everything that the promise is about: the topics in order, and how many points each frame has."""

    accepted: list[AcceptedFrame]
    states: list[TerminalState]
    deleted: frozenset[str]
    points: dict[str, dict[str, int]]
    """By collection, by frame."""
    trimmed: bool = False
    """Retention has dropped records of these topics: a frame without a record may be older than the log."""
    taken_before: dict[str, datetime] = {}
    """By `tenant/feed`, up to when retention has taken pictures and points."""
    kept: frozenset[str] = frozenset()
    """Frames that retention never takes."""


@dataclass(slots=True)
class Findings:
    """The counts, and ids of frames by what is wrong with them; empty lists mean that the promise was kept."""

    accepted: int = 0
    enriched: int = 0
    dead: int = 0
    deleted: int = 0
    """Frames that people asked to forget."""
    repeated: int = 0
    """Terminal states written more than once: allowed, ids stay the same."""
    missing: list[str] = field(default_factory=list)
    """Accepted, and neither enriched nor dead nor deleted."""
    unknown: list[str] = field(default_factory=list)
    """Enriched or dead, and never accepted."""
    points_of_dead: list[str] = field(default_factory=list)
    points_missing: list[str] = field(default_factory=list)
    """Enriched with embeddings done, and without a point."""
    orphans: list[str] = field(default_factory=list)
    """Frames with points that are not enriched, or deleted, or whose event says that there is no point."""
    doubled: list[str] = field(default_factory=list)
    """Frames with more than one point of their own."""
    older: list[str] = field(default_factory=list)
    """Frames with a state or a point whose records retention has dropped: they cannot be checked."""

    @property
    def faults(self) -> dict[str, list[str]]:
        """Frame ids by fault, without the faults that no frame has."""
        faults = {
            "missing": self.missing,
            "unknown": self.unknown,
            "points_of_dead": self.points_of_dead,
            "points_missing": self.points_missing,
            "orphans": self.orphans,
            "doubled": self.doubled,
        }
        return {name: frames for name, frames in faults.items() if frames}

    @property
    def kept(self) -> bool:
        """Whether the promise was kept."""
        return not self.faults


async def check(
    transport: Transport, index: Index, collections: Sequence[str], *, embedding_stages: Collection[str]
) -> Findings:
    """Compare what was accepted with its last states and its points in `collections` (frames' and regions').

    A frame has a point of its own where one of `embedding_stages` stands in its trace; a collection that does not exist
    has no points. Raises Unavailable, StoreUnavailable.
    """
    return judge(await snapshot(transport, index, collections), embedding_stages=embedding_stages)


async def snapshot(transport: Transport, index: Index, collections: Sequence[str]) -> Snapshot:
    """The present topics and points. Raises Unavailable, StoreUnavailable."""
    enriched = [state async for record in read_topic(transport, topics.ENRICHED) if (state := _enriched(record))]
    existing = await index.collections()
    dead = [state async for record in read_topic(transport, topics.DEAD) if (state := _dead(record))]
    return Snapshot(
        accepted=[_accepted(record) async for record in read_topic(transport, topics.RAW)],
        states=enriched + dead,
        deleted=frozenset(await Deletions(transport).catch_up()),
        points={name: await _points(index, name) if name in existing else {} for name in collections},
        taken_before=await _taken_before(transport),
        kept=await _kept(transport),
        trimmed=await _is_trimmed(transport),
    )


def judge(observed: Snapshot, *, embedding_stages: Collection[str]) -> Findings:
    accepted = {entry.frame for entry in observed.accepted}
    last = _last(observed.states)
    findings = Findings(
        accepted=len(accepted), repeated=len(observed.states) - len(last), deleted=len(observed.deleted)
    )
    findings.enriched = sum(state.state == "enriched" for state in last.values())
    findings.dead = len(last) - findings.enriched
    findings.missing = sorted(accepted - last.keys() - observed.deleted)
    unknown, owners_of_points = last.keys() - accepted, frozenset().union(*observed.points.values())
    older = (
        (unknown | (owners_of_points - last.keys() - accepted)) - observed.deleted if observed.trimmed else frozenset()
    )
    findings.older, findings.unknown = sorted(older), [] if observed.trimmed else sorted(unknown)
    taken = {frame for frame, state in last.items() if _is_taken(state, observed.taken_before)} - observed.kept
    for collection, owners in observed.points.items():
        embedded = _embedded(observed.states, last, collection, embedding_stages) - observed.deleted
        findings.points_of_dead += sorted(frame for frame in owners if frame in last and last[frame].state == "dead")
        findings.orphans += sorted(owners.keys() - embedded - older)
        if points.holds_frames(collection):
            findings.points_missing += sorted(embedded - owners.keys() - taken)
            findings.doubled += sorted(frame for frame, times in owners.items() if times > 1)
    return findings


def _embedded(
    states: Sequence[TerminalState], last: Mapping[str, TerminalState], collection: str, stages: Collection[str]
) -> set[str]:
    """The frames that must have a point in the collection: by their last event of its model set, unless dead since."""
    own = [state for state in states if not state.model_set or collection.endswith(f"-{state.model_set}")]
    return {
        frame
        for frame, state in _last(own).items()
        if last[frame].state == "enriched" and not state.stages.isdisjoint(stages)
    }


def _accepted(record: Record) -> AcceptedFrame:
    """The frame as the worker makes it."""
    partition, offset = record.partition.index, record.offset
    try:
        event = codec.decode_frame(record.value, record.headers, appended_seconds=record.timestamp).event
    except SchemaError:
        return AcceptedFrame(
            unknown_frame_id(record.partition.topic, partition, offset), "", "still", partition, offset
        )
    return AcceptedFrame(event.id, _feed(event), event.kind, partition, offset)


def _enriched(record: Record) -> TerminalState | None:
    """None for what cannot be read, which Sightline did not write."""
    try:
        event = codec.decode_frame(record.value, record.headers).event
    except SchemaError:
        return None
    stages, when = frozenset(entry.stage for entry in event.trace), event.published or event.ingested
    return TerminalState(
        event.id,
        "enriched",
        _feed(event),
        record.partition.index,
        record.offset,
        when,
        stages,
        model_set=event.model_set,
        ingested=event.ingested,
    )


def _dead(record: Record) -> TerminalState | None:
    """None for a closing record, and for what cannot be read, which Sightline did not write."""
    try:
        letter = None if CLOSES_HEADER in record.headers else codec.decode_dead(record.value, record.headers)
    except SchemaError:
        letter = None
    if letter is None:
        return None
    feed, partition = f"{letter.tenant}/{letter.feed}", record.partition.index
    return TerminalState(letter.id, "dead", feed, partition, record.offset, letter.died, reason=letter.reason)


def _feed(event: FrameEvent) -> str:
    return f"{event.tenant}/{event.feed}"


def _last(states: Sequence[TerminalState]) -> dict[str, TerminalState]:
    """Each frame's last state by time; at equal times the later record counts."""
    last: dict[str, TerminalState] = {}
    for state in states:
        if state.frame not in last or last[state.frame].when <= state.when:
            last[state.frame] = state
    return last


async def _taken_before(transport: Transport) -> dict[str, datetime]:
    feeds = TrimmedFeeds(transport)
    await feeds.catch_up()
    return {f"{tenant}/{feed}": before for (tenant, feed), before in feeds.all.items()}


async def _kept(transport: Transport) -> frozenset[str]:
    kept = KeptFrames(transport)
    await kept.catch_up()
    return frozenset(kept.frames)


def _is_taken(state: TerminalState, taken_before: Mapping[str, datetime]) -> bool:
    """Whether retention may have taken the frame's point."""
    before = taken_before.get(state.feed)
    return before is not None and state.ingested is not None and state.ingested < before


async def _is_trimmed(transport: Transport) -> bool:
    ends = [await transport.ends(topic) for topic in (topics.RAW, topics.ENRICHED, topics.DEAD)]
    return any(first > 0 for partitions in ends for first, _ in partitions.values())


async def _points(index: Index, collection: str) -> dict[str, int]:
    """How many points each frame has in a collection."""
    owners: Counter[str] = Counter()
    async for page in point_pages(index, collection):
        owners.update(str(hit.payload["frame"]) for hit in page)
    return dict(owners)
