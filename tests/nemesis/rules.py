"""Histories against the promise, offline: what processes were told, and what is there in the end.

Each rule yields a sentence per breach; no sentences mean that the promise was kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import TypeVar

import msgspec

from streams.lifecycle.check import Accepted, Snapshot, judge
from tests.nemesis.history import Accept, Commit, Delete, Entry, Histories, Publish, Upsert


class Final(msgspec.Struct, frozen=True):
    """Everything as it was found after the run: topics, points, and the group's position by partition."""

    snapshot: Snapshot
    positions: dict[int, int]


E = TypeVar("E", bound=Entry)
Rule = Callable[[Histories, Final], Iterator[str]]


def broken(histories: Histories, final: Final) -> list[str]:
    return [f"{rule.__name__}: {breach}" for rule in RULES for breach in rule(histories, final)]


def every_accepted_frame_has_one_last_state(histories: Histories, final: Final) -> Iterator[str]:
    """DESIGN's sentence: enriched ∪ dead = accepted, points for the enriched alone, one each."""
    found = judge(final.snapshot)
    for what in ("missing", "unknown", "points_of_dead", "points_missing", "orphans", "doubled"):
        if frames := getattr(found, what):
            yield f"{len(frames)} {what}, as {frames[0]}"


def what_was_accepted_is_on_the_log(histories: Histories, final: Final) -> Iterator[str]:
    there = {one.frame for one in final.snapshot.accepted}
    for entry in _all(histories, Accept):
        for frame in set(entry.frames) - there:
            yield f"{frame} was acknowledged to its producer, and is not there"


def what_was_published_is_on_its_topic(histories: Histories, final: Final) -> Iterator[str]:
    there = {(one.frame, one.state) for one in final.snapshot.told}
    for entry in _all(histories, Publish):
        for frame in entry.frames:
            if (frame, entry.state) not in there:
                yield f"{frame} was acknowledged as {entry.state}, and is not there"


def what_was_indexed_and_never_deleted_is_in_the_index(histories: Histories, final: Final) -> Iterator[str]:
    gone = {(entry.collection, frame) for entry in _all(histories, Delete) for frame in entry.frames}
    for entry in _all(histories, Upsert):
        there = final.snapshot.owners.get(entry.collection, {})
        for frame in set(entry.frames) - there.keys():
            if (entry.collection, frame) not in gone:
                yield f"{frame} was acknowledged by {entry.collection}, and has no point there"


def positions_never_go_back(histories: Histories, final: Final) -> Iterator[str]:
    """In the order of assignments (epochs) and, within one, of time; the last is where the group stands at least."""
    for partition, commits in _commits(histories).items():
        ordered = sorted(commits, key=lambda one: (one.epoch, one.at))
        for earlier, later in pairwise(ordered):
            if later.next_offset < earlier.next_offset:
                yield f"partition {partition} went from {earlier.next_offset} back to {later.next_offset}"
        most = max(one.next_offset for one in commits)
        if final.positions.get(partition, 0) < most:
            yield f"partition {partition} was committed up to {most}, and stands at {final.positions.get(partition, 0)}"


def nothing_is_committed_before_its_state(histories: Histories, final: Final) -> Iterator[str]:
    told = _first(histories, Publish)
    for frame, covered_at in _covered(histories, final).items():
        if frame in told and told[frame] > covered_at:
            yield f"{frame} was passed {told[frame] - covered_at:.3f} s before its state was acknowledged"


def nothing_is_committed_before_its_points(histories: Histories, final: Final) -> Iterator[str]:
    indexed, alive = _first(histories, Upsert), {one.frame for one in final.snapshot.told if one.state == "enriched"}
    for frame, covered_at in _covered(histories, final).items():
        if frame in alive and frame in indexed and indexed[frame] > covered_at:
            yield f"{frame} was passed {indexed[frame] - covered_at:.3f} s before its point was acknowledged"


def each_feed_is_in_order(histories: Histories, final: Final) -> Iterator[str]:
    """Of video frames the first enriched events come as the frames were accepted; repeats may follow anywhere."""
    accepted: dict[str, Accepted] = {}
    for one in final.snapshot.accepted:
        accepted.setdefault(one.frame, one)
    last: dict[str, Accepted] = {}
    seen = set()
    for told in sorted(final.snapshot.told, key=lambda one: (one.partition, one.offset)):
        frame = accepted.get(told.frame)
        if told.state != "enriched" or told.frame in seen or frame is None or frame.kind != "frame":
            continue
        seen.add(told.frame)
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
    """When each frame was acknowledged first."""
    first: dict[str, float] = {}
    for entry in _all(histories, kind):
        for frame in entry.frames:
            first[frame] = min(entry.at, first.get(frame, entry.at))
    return first


def _covered(histories: Histories, final: Final) -> Mapping[str, float]:
    """When a commit first passed each frame; of a frame that is on the log twice, when all of it was passed."""
    frames: dict[int, list[Accepted]] = defaultdict(list)
    for one in final.snapshot.accepted:
        frames[one.partition].append(one)
    covered: dict[str, float] = {}
    for partition, commits in _commits(histories).items():
        waiting = iter(sorted(frames[partition], key=lambda one: one.offset))
        passed = _passed(waiting, sorted(commits, key=lambda one: one.at))
        for frame, at in passed:
            covered[frame] = max(at, covered.get(frame, at))
    return covered


def _passed(frames: Iterator[Accepted], commits: Iterable[Commit]) -> Iterator[tuple[str, float]]:
    frame = next(frames, None)
    for commit in commits:
        while frame is not None and frame.offset < commit.next_offset:
            yield frame.frame, commit.at
            frame = next(frames, None)
