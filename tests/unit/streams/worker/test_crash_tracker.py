"""How the frame that kills the process is found, start after start."""

from __future__ import annotations

from streams.transport import Partition, Position, Record
from streams.worker.crash_tracker import CrashTracker

HERE, THERE = Partition("frames.raw", 0), Partition("frames.raw", 1)


def record(offset: int, partition: Partition = HERE) -> Record:
    return Record(partition, offset, 1, b"", b"", {}, 0.0)


def started(position: Position) -> CrashTracker:
    attempts = CrashTracker(isolate_after=2, window=8)
    attempts.assign(HERE, position)
    return attempts


def test_a_start_is_counted_once_before_the_first_frame_and_forgotten_with_progress() -> None:
    attempts = started(Position(10))
    assert attempts.mark([record(12), record(10)]) == {HERE: Position(10, 1)}
    assert attempts.mark([record(11)]) == {}
    assert attempts.position(HERE, 13) == Position(13, 0)
    attempts.committed(HERE, Position(13, 0))
    assert attempts.mark([record(13)]) == {}
    assert not attempts.unproven


def test_after_a_start_without_progress_few_frames_are_taken() -> None:
    attempts = started(Position(10, 1))
    assert attempts.unproven
    assert not attempts.suspects(record(10)), "two such starts are needed"
    attempts.committed(HERE, Position(11, 0))
    assert not attempts.unproven


def test_after_two_of_them_frames_run_singly_each_with_a_mark() -> None:
    attempts = started(Position(10, 2))
    assert [attempts.suspects(record(offset)) for offset in (10, 17, 18)] == [True, True, False]
    assert not attempts.is_poison(record(10))
    assert attempts.mark([record(10)]) == {HERE: Position(10, 3)}
    assert attempts.unmarked([HERE]) == {HERE: Position(10, 2)}, "it survived its computing"
    assert attempts.position(HERE, 11) == Position(11, 2), "the window is not through"
    attempts.committed(HERE, Position(11, 2))
    assert attempts.mark([record(12)]) == {HERE: Position(12, 3)}, "over a hole in the offsets"
    assert attempts.position(HERE, 18) == Position(18, 0)


def test_a_third_death_alone_names_the_culprit() -> None:
    attempts = started(Position(12, 4))
    assert not attempts.is_poison(record(12)), "kills may come from outside"
    assert attempts.deaths(record(12)) == 2
    assert attempts.mark([record(12)]) == {HERE: Position(12, 5)}
    attempts = started(Position(12, 5))
    assert attempts.is_poison(record(12))
    assert not attempts.is_poison(record(13))
    assert not attempts.is_poison(record(12, THERE))
    assert attempts.position(HERE, 13) == Position(13, 2)


def test_a_frame_that_survives_alone_is_innocent_of_earlier_deaths() -> None:
    attempts = started(Position(12, 3))
    attempts.mark([record(12)])
    assert attempts.unmarked([HERE]) == {HERE: Position(12, 2)}
    attempts.mark([record(12)])
    assert attempts.unmarked([HERE]) == {HERE: Position(12, 2)}


def test_deaths_of_one_frame_do_not_count_for_the_next() -> None:
    attempts = started(Position(12, 3))
    assert attempts.mark([record(14)]) == {HERE: Position(14, 3)}, "the log had a hole"


def test_frames_behind_the_window_do_not_mark_a_suspect_that_waits() -> None:
    assert started(Position(10, 2)).mark([record(18)]) == {}


def test_a_start_that_ends_in_peace_is_no_crash() -> None:
    attempts = started(Position(10))
    attempts.mark([record(10)])
    assert attempts.unmarked([HERE, THERE]) == {HERE: Position(10, 0)}
    assert attempts.unmarked([HERE]) == {}


def test_an_innocent_partition_is_not_counted_before_its_own_first_frame() -> None:
    """The process dies as a whole: only those are counted whose frames had begun."""
    attempts = started(Position(10, 2))
    attempts.assign(THERE, Position(5, 2))
    assert attempts.mark([record(10)]) == {HERE: Position(10, 3)}
