"""The nemesis: a short selection of its faults, and for each rule of its checker a history that breaks it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.events import Kind
from streams.lifecycle.check import AcceptedFrame, Snapshot, TerminalState
from tests.nemesis import history, report, rules
from tests.nemesis.__main__ import options
from tests.nemesis.faults import FAULTS, SHORT_SELECTION
from tests.nemesis.history import Accept, Commit, Delete, Entry, Publish, Upsert
from tests.nemesis.player import Player, Result
from tests.nemesis.rig import SHORT, Log, Scale
from tests.nemesis.rules import Final, broken
from tests.nemesis.workload import fate

POINTS = "frames-set"


@pytest.fixture(scope="module")
def player(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Player]:
    player = Player(tmp_path_factory.mktemp("faults"), SHORT)
    yield player
    player.close()


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("name", "log"), SHORT_SELECTION)
async def test_the_promise_is_kept(player: Player, name: str, log: Log) -> None:
    result = await player.play(name, log)
    if result.verdict == "skipped":
        pytest.skip(result.why[0])
    assert result.verdict == "kept", result
    assert result.accepted > 0


@pytest.mark.timeout(240)
async def test_a_kill_before_every_commit_blames_no_frame(tmp_path: Path) -> None:
    """Seven starts without progress: enough to blame a frame, if a crash mark stood for longer than the frame runs."""
    player = Player(tmp_path, Scale(rounds=7, seconds=SHORT.seconds, name="seven"))
    result = await player.play("kill-between-events-and-commit", "sqlite")
    assert result.verdict == "kept", result


def when(second: int) -> datetime:
    return datetime(2026, 11, 21, 12, 0, second, tzinfo=UTC)


def accepted(*frames: str, kind: Kind = "frame") -> list[AcceptedFrame]:
    return [AcceptedFrame(frame, "default/lobby", kind, 0, offset) for offset, frame in enumerate(frames)]


def enriched(*frames: str) -> list[TerminalState]:
    return [
        TerminalState(frame, "enriched", "default/lobby", 0, offset, when(offset), frozenset({"embed"}))
        for offset, frame in enumerate(frames)
    ]


WHOLE: dict[str, list[Entry]] = {
    "producer": [Accept(1.0, ["a", "b"])],
    "worker": [
        Upsert(2.0, POINTS, ["a", "b"]),
        Publish(3.0, "enriched", ["a", "b"]),
        Commit(4.0, 0, 2, 0, 1),
    ],
}
END = Snapshot(accepted("a", "b"), enriched("a", "b"), frozenset(), {POINTS: {"a": 1, "b": 1}})


def ended(positions: dict[int, int] | None = None, **changes: Any) -> Final:
    return Final(msgspec.structs.replace(END, **changes), positions or {0: 2})


def with_worker(*entries: Entry) -> dict[str, list[Entry]]:
    return {**WHOLE, "worker": list(entries)}


def test_a_whole_history_breaks_no_rule() -> None:
    assert broken(WHOLE, ended()) == []


DEAD_B = [*enriched("a", "b"), TerminalState("b", "dead", "default/lobby", 0, 0, when(9), reason="invalid")]
LATE = Upsert(5.0, POINTS, ["a", "b"]), Publish(3.0, "enriched", ["a", "b"]), Commit(4.0, 0, 2, 0, 1)
EARLY = Upsert(2.0, POINTS, ["a", "b"]), Commit(4.0, 0, 2, 0, 1), Publish(5.0, "enriched", ["a", "b"])
BACK = Upsert(2.0, POINTS, ["a", "b"]), Publish(2.0, "enriched", ["a", "b"]), Commit(3.0, 0, 2, 0, 1)

BROKEN = {
    "a frame without an end": (
        WHOLE,
        ended(states=enriched("a"), points={POINTS: {"a": 1}}),
        rules.every_accepted_frame_has_one_last_state,
        1,
    ),
    "an end without a frame": (
        WHOLE,
        ended(states=enriched("a", "b", "c"), points={POINTS: {"a": 1, "b": 1, "c": 1}}),
        rules.every_accepted_frame_has_one_last_state,
        1,
    ),
    "a point of a dead frame": (WHOLE, ended(states=DEAD_B), rules.every_accepted_frame_has_one_last_state, 2),
    "a point of an unknown frame": (
        WHOLE,
        ended(points={POINTS: {"a": 1, "b": 1, "c": 1}}),
        rules.every_accepted_frame_has_one_last_state,
        1,
    ),
    "two points of one frame": (
        WHOLE,
        ended(points={POINTS: {"a": 2, "b": 1}}),
        rules.every_accepted_frame_has_one_last_state,
        1,
    ),
    "an accepted frame that is not on the log": (
        {**WHOLE, "producer": [Accept(1.0, ["a", "b", "c"])]},
        ended(),
        rules.what_was_accepted_is_on_the_log,
        1,
    ),
    "a published state that is not on its topic": (
        with_worker(*WHOLE["worker"], Publish(5.0, "dead", ["a"])),
        ended(),
        rules.what_was_published_is_on_its_topic,
        1,
    ),
    "an indexed point that is missing": (
        WHOLE,
        ended(points={POINTS: {"a": 1}}),
        rules.what_was_indexed_and_never_deleted_is_in_the_index,
        1,
    ),
    "a position that goes back in a later assignment": (
        with_worker(*BACK, Commit(2.5, 0, 1, 0, 2)),
        ended(),
        rules.positions_never_go_back,
        1,
    ),
    "a group that stands before its last commit": (WHOLE, ended({0: 1}), rules.positions_never_go_back, 1),
    "a commit before the state": (with_worker(*EARLY), ended(), rules.nothing_is_committed_before_its_state, 2),
    "a commit before the point": (with_worker(*LATE), ended(), rules.nothing_is_committed_before_its_points, 2),
    "points of an enriched frame missing": (
        with_worker(*WHOLE["worker"], Delete(5.0, POINTS, ["b"])),
        ended(points={POINTS: {"a": 1}}),
        rules.every_accepted_frame_has_one_last_state,
        1,
    ),
    "a feed out of order": (WHOLE, ended(states=enriched("b", "a")), rules.each_feed_is_in_order, 1),
}


@pytest.mark.parametrize(("histories", "final", "rule", "breaches"), BROKEN.values(), ids=BROKEN)
def test_a_broken_history_is_found(
    histories: dict[str, list[Entry]], final: Final, rule: rules.Rule, breaches: int
) -> None:
    assert len(list(rule(histories, final))) == breaches
    assert broken(histories, final)


def test_every_rule_has_a_history_that_breaks_it() -> None:
    assert {rule for _, _, rule, _ in BROKEN.values()} == set(rules.RULES)


def test_what_at_least_once_allows_breaks_no_rule() -> None:
    """Repeats after a crash, a deleted point, stills in any order, an entry that a kill left out."""
    again = with_worker(*WHOLE["worker"], Publish(5.0, "enriched", ["a"]))
    assert broken(again, ended(states=enriched("a", "b", "a"))) == []
    deleted = with_worker(*WHOLE["worker"], Delete(5.0, POINTS, ["b"]))
    assert broken(deleted, ended(states=DEAD_B, points={POINTS: {"a": 1}})) == []
    assert broken(WHOLE, ended(accepted=accepted("a", "b", kind="still"), states=enriched("b", "a"))) == []
    assert broken(with_worker(Commit(4.0, 0, 2, 0, 1)), ended()) == []


def test_a_history_is_read_as_it_was_written_without_an_incomplete_last_line(tmp_path: Path) -> None:
    written = history.History(tmp_path, "worker")
    written.upserted(POINTS, ["a"])
    written.deleted(POINTS, ["b"])
    (path,) = tmp_path.glob("*.jsonl")
    path.write_bytes(path.read_bytes() + b'{"type":"Commit","at":1')
    (entries,) = history.read(tmp_path).values()
    assert [type(entry) for entry in entries] == [Upsert, Delete]


def test_results_replace_older_ones(tmp_path: Path) -> None:
    page = tmp_path / "faults.md"
    page.write_text(f"# Faults\n\n{report.BEGIN}\n{report.END}\n\nThe rest.\n", encoding="utf-8")
    names = list(FAULTS)[:2]
    report.write(page, [Result(names[1], "sqlite", "BROKEN"), Result(names[0], "kafka", "skipped")], SHORT)
    report.write(page, [Result(names[1], "sqlite", "kept", accepted=7)], SHORT)
    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert [row.split(" | ")[:4] for row in rows] == [
        [f"| `{names[0]}`", "kafka", "skipped", ""],
        [f"| `{names[1]}`", "sqlite", "kept", "7"],
    ]
    assert page.read_text(encoding="utf-8").endswith("The rest.\n")


def test_the_page_lists_every_fault() -> None:
    page = (Path(__file__).parents[2] / "docs" / "faults.md").read_text(encoding="utf-8")
    assert [name for name, fault in FAULTS.items() if f"| {', '.join(fault.on)} | {fault.proves} |" not in page] == []


def test_an_unknown_fault_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options(["no-such-fault"])
    assert "no such fault: no-such-fault" in capsys.readouterr().err


def test_fates_are_spread_as_the_mix_says() -> None:
    fates = [fate(number, {"invalid": 10, "abort": 5}) for number in range(1000)]
    assert (fates.count("invalid"), fates.count("abort")) == (10, 5)
