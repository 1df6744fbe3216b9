"""Holds histories and the final state against the promise, offline.

Each rule yields a sentence per breach; no sentence means that the promise was kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import TypeVar

import msgspec

from streams.lifecycle.check import AcceptedFrame, Snapshot, judge
from tests.nemesis.history import Accept, Commit, Delete, Entry, Histories, Publish, Upsert
from tests.support.fault_stages import EMBEDDING_STAGES


class Final(msgspec.Struct, frozen=True):
    """The state after the run: topics, points, and the group's position by partition."""

    snapshot: Snapshot
    positions: dict[int, int]


E = TypeVar("E", bound=Entry)
Rule = Callable[[Histories, Final], Iterator[str]]


def broken(histories: Histories, final: Final) -> list[str]:
    return [f"{rule.__name__}: {breach}" for rule in RULES for breach in rule(histories, final)]


def every_accepted_frame_has_one_last_state(histories: Histories, final: Final) -> Iterator[str]:
    """enriched ∪ dead = accepted; every enriched frame has one point, and no other frame has any."""
    findings = judge(final.snapshot, embedding_stages=EMBEDDING_STAGES)
    for name, frames in findings.faults.items():
        yield f"{len(frames)} {name}, for example {frames[0]}"


def what_was_accepted_is_on_the_log(histories: Histories, final: Final) -> Iterator[str]:
    present = {record.frame for record in final.snapshot.accepted}
    for entry in _all(histories, Accept):
        for frame in set(entry.frames) - present:
            yield f"{frame} was acknowledged to its producer, but is not on the log"


def what_was_published_is_on_its_topic(histories: Histories, final: Final) -> Iterator[str]:
    present = {(state.frame, state.state) for state in final.snapshot.states}
    for entry in _all(histories, Publish):
        for frame in entry.frames:
            if (frame, entry.state) not in present:
                yield f"{frame} was acknowledged as {entry.state}, but is not on that topic"


def what_was_indexed_and_never_deleted_is_in_the_index(histories: Histories, final: Final) -> Iterator[str]:
    deleted = {(entry.collection, frame) for entry in _all(histories, Delete) for frame in entry.frames}
    for entry in _all(histories, Upsert):
        owners = final.snapshot.points.get(entry.collection, {})
        for frame in set(entry.frames) - owners.keys():
            if (entry.collection, frame) not in deleted:
                yield f"{frame} was acknowledged by {entry.collection}, but has no point there"


def positions_never_go_back(histories: Histories, final: Final) -> Iterator[str]:
    """Commits ordered by assignment (epoch), then time, never go back; the group ends at or beyond the highest."""
    for partition, commits in _commits(histories).items():
        ordered = sorted(commits, key=lambda commit: (commit.epoch, commit.at))
        for earlier, later in pairwise(ordered):
            if later.next_offset < earlier.next_offset:
                yield f"partition {partition} went from {earlier.next_offset} back to {later.next_offset}"
        highest, position = max(commit.next_offset for commit in commits), final.positions.get(partition, 0)
        if position < highest:
            yield f"partition {partition} was committed up to {highest}, but the group stands at {position}"


def nothing_is_committed_before_its_state(histories: Histories, final: Final) -> Iterator[str]:
    published = _first(histories, Publish)
    for frame, committed_at in _committed(histories, final).items():
        if frame in published and published[frame] > committed_at:
            early_seconds = published[frame] - committed_at
            yield f"{frame} was committed {early_seconds:.3f} s before its state was acknowledged"


def nothing_is_committed_before_its_points(histories: Histories, final: Final) -> Iterator[str]:
    indexed = _first(histories, Upsert)
    enriched = {state.frame for state in final.snapshot.states if state.state == "enriched"}
    for frame, committed_at in _committed(histories, final).items():
        if frame in enriched and frame in indexed and indexed[frame] > committed_at:
            early_seconds = indexed[frame] - committed_at
            yield f"{frame} was committed {early_seconds:.3f} s before its point was acknowledged"


def each_feed_is_in_order(histories: Histories, final: Final) -> Iterator[str]:
    """First enriched events of video frames come in the order of acceptance; repeats may come at any time."""
    accepted: dict[str, AcceptedFrame] = {}
    for record in final.snapshot.accepted:
        accepted.setdefault(record.frame, record)
    last: dict[str, AcceptedFrame] = {}
    seen = set()
    for state in sorted(final.snapshot.states, key=lambda each: (each.partition, each.offset)):
        frame = accepted.get(state.frame)
        if state.state != "enriched" or state.frame in seen or frame is None or frame.kind != "frame":
            continue
        seen.add(state.frame)
        if frame.feed in last and last[frame.feed].offset > frame.offset:
            yield f"feed {frame.feed}: {frame.frame} came after {last[frame.feed].frame}, which was accepted later"
        last[frame.feed] = frame


RULES: tuple[Rule, ...] = (
    every_accepted_frame_has_one_last_state,
    what_was_accepted_is_on_the_log,
    what_was_published_is_on_its_topic,
    what_was_indexed_and_never_deleted_is_in_the_index,
    positions_never_go_back,
    nothing_is_committed_before_its_state,
    nothing_is_committed_before_its_points,
    each_feed_is_in_order,
)


def _all(histories: Histories, kind: type[E]) -> Iterator[E]:
    return (entry for entries in histories.values() for entry in entries if isinstance(entry, kind))


def _commits(histories: Histories) -> dict[int, list[Commit]]:
    commits: dict[int, list[Commit]] = defaultdict(list)
    for entry in _all(histories, Commit):
        commits[entry.partition].append(entry)
    return commits


def _first(histories: Histories, kind: type[Publish] | type[Upsert]) -> dict[str, float]:
    """When each frame was first acknowledged."""
    first: dict[str, float] = {}
    for entry in _all(histories, kind):
        for frame in entry.frames:
            first[frame] = min(entry.at, first.get(frame, entry.at))
    return first


def _committed(histories: Histories, final: Final) -> Mapping[str, float]:
    """When a commit first passed each frame; for a frame that is on the log twice, when its last record was passed."""
    frames: dict[int, list[AcceptedFrame]] = defaultdict(list)
    for record in final.snapshot.accepted:
        frames[record.partition].append(record)
    committed: dict[str, float] = {}
    for partition, commits in _commits(histories).items():
        waiting = iter(sorted(frames[partition], key=lambda record: record.offset))
        passed = _passed(waiting, sorted(commits, key=lambda commit: commit.at))
        for frame, at in passed:
            committed[frame] = max(at, committed.get(frame, at))
    return committed


def _passed(frames: Iterator[AcceptedFrame], commits: Iterable[Commit]) -> Iterator[tuple[str, float]]:
    frame = next(frames, None)
    for commit in commits:
        while frame is not None and frame.offset < commit.next_offset:
            yield frame.frame, commit.at
            frame = next(frames, None)
