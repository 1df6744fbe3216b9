"""Judging a snapshot: retention, deletions, and the stages that make points."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from streams.lifecycle.check import AcceptedFrame, Snapshot, TerminalState, judge

FRAMES = "frames-set"
EMBEDDING_STAGES = frozenset({"vectors"})


def accepted(*frames: str) -> list[AcceptedFrame]:
    return [AcceptedFrame(frame, "default/lobby", "still", 0, offset) for offset, frame in enumerate(frames)]


def enriched(*frames: str, stage: str = "vectors") -> list[TerminalState]:
    when = datetime(2026, 11, 28, tzinfo=UTC)
    return [
        TerminalState(frame, "enriched", "default/lobby", 0, offset, when, frozenset({stage}))
        for offset, frame in enumerate(frames)
    ]


def snapshot(
    frames: list[AcceptedFrame],
    states: list[TerminalState],
    points: dict[str, int],
    *,
    deleted: frozenset[str] = frozenset(),
    trimmed: bool = False,
) -> Snapshot:
    return Snapshot(accepted=frames, states=states, deleted=deleted, points={FRAMES: points}, trimmed=trimmed)


@pytest.mark.parametrize(
    ("trimmed", "older", "faults"),
    [(True, ["a", "c"], {}), (False, [], {"unknown": ["a"], "orphans": ["c"]})],
)
def test_frames_without_records_are_faults_unless_retention_dropped_records(
    trimmed: bool,  # noqa: FBT001 - a parameter
    older: list[str],
    faults: dict[str, list[str]],
) -> None:
    found = snapshot(accepted("b"), enriched("a", "b"), {"a": 1, "b": 1, "c": 1}, trimmed=trimmed)
    findings = judge(found, embedding_stages=EMBEDDING_STAGES)
    assert (findings.older, findings.faults) == (older, faults)


def test_an_unfinished_frame_is_missing_although_retention_dropped_records() -> None:
    found = snapshot(accepted("a", "b"), enriched("a"), {"a": 1, "b": 1}, trimmed=True)
    findings = judge(found, embedding_stages=EMBEDDING_STAGES)
    assert (findings.older, findings.faults) == ([], {"missing": ["b"], "orphans": ["b"]})


def test_a_deleted_frame_whose_raw_record_was_dropped_must_have_no_point() -> None:
    found = snapshot([], enriched("a", "b"), {"b": 1}, deleted=frozenset("ab"), trimmed=True)
    assert judge(found, embedding_stages=EMBEDDING_STAGES).faults == {"orphans": ["b"]}


def test_a_deleted_frame_needs_no_state_and_must_have_no_point() -> None:
    without_point = snapshot(accepted("a"), [], {}, deleted=frozenset("a"))
    assert judge(without_point, embedding_stages=EMBEDDING_STAGES).kept
    with_point = snapshot(accepted("a"), [], {"a": 1}, deleted=frozenset("a"))
    assert judge(with_point, embedding_stages=EMBEDDING_STAGES).faults == {"orphans": ["a"]}


def test_only_stages_that_embed_make_points() -> None:
    found = snapshot(accepted("a", "b"), [*enriched("a"), *enriched("b", stage="decode")], {})
    assert judge(found, embedding_stages=EMBEDDING_STAGES).faults == {"points_missing": ["a"]}
