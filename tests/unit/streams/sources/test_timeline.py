"""Time stamps of joined recordings, set-back clocks, jumps, and streams without any."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import pytest

from streams.sources.timeline import Stamp, Timeline

TICK = Fraction(1, 90_000)
STEP = 9_000


def stamps(pts: Sequence[int | None], unit: Fraction | None = TICK, rate: int = 10) -> list[Stamp]:
    timeline = Timeline(unit, Fraction(rate))
    return [timeline.stamp(each) for each in pts]


@pytest.mark.parametrize(
    ("pts", "moved"),
    [
        ([0, 1, 2, 3], [0, 1, 2, 3]),
        ([7, 8, 10, 11], [7, 8, 10, 11]),
        ([5, 6, 7, 5, 6, 7], [5, 6, 7, 8, 9, 10]),
        ([5, 6, 7, 6, 7, 8, 6], [5, 6, 7, 8, 9, 10, 11]),
        ([3, 3, 4], [3, 4, 5]),
    ],
    ids=["steady", "a gap", "joined", "stepped back twice", "the same again"],
)
def test_stamps_only_grow_and_are_the_files_own_as_long_as_these_grow(pts: list[int], moved: list[int]) -> None:
    shown = stamps([STEP * each for each in pts])
    assert [stamp.pts for stamp in shown] == [STEP * each for each in moved]
    assert [stamp.seconds for stamp in shown] == pytest.approx([(each - pts[0]) / 10 for each in moved])


def test_a_jump_of_ten_hours_is_one_frame_of_playing() -> None:
    hours = 36_000 * 90_000
    shown = stamps([0, STEP, hours, hours + STEP])
    assert [stamp.pts for stamp in shown] == [0, STEP, hours, hours + STEP], "the frames' identities are the file's"
    assert [stamp.seconds for stamp in shown] == pytest.approx([0, 0.1, 0.2, 0.3])


def test_half_a_minute_without_a_frame_is_played() -> None:
    assert stamps([0, 30 * 90_000])[1].seconds == 30


def test_a_stream_without_stamps_is_numbered() -> None:
    assert stamps([None] * 3, None, 25) == [Stamp(number, number / 25) for number in range(3)]


def test_stamps_in_a_decoders_order_stay_and_time_does_not_go_back() -> None:
    """An AVI of H.264 with B-frames."""
    pts = [1, 2, 5, 4, 6, 3, 8, 9, 7]
    shown = stamps([STEP * each for each in pts])
    assert [stamp.pts // STEP for stamp in shown] == pts
    assert [round(stamp.seconds * 10) for stamp in shown] == [0, 1, 4, 4, 5, 5, 7, 8, 8]


def test_a_clock_set_back_by_a_part_of_a_frame_gives_distinct_stamps() -> None:
    pts = [*range(0, 10 * STEP, STEP), *range(5 * STEP + 100, 15 * STEP, STEP)]
    shown = stamps(pts)
    assert len({stamp.pts for stamp in shown}) == 20
    assert shown[-1].seconds == pytest.approx(1.5, abs=0.1), "of five frames it takes to see that it is no disorder"
