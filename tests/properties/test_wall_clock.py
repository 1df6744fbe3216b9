"""Whether the wall clock is believed, under any order of waiting, jumping and restarting."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from streams.sqlite.wall_clock import OFF_SECONDS, TOLERANCE_SECONDS, ClockState, Reading

HOLD_SECONDS = 3_600.0
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.floats(1, 2_000)),
        st.tuples(st.just("jump"), st.floats(2 * TOLERANCE_SECONDS, 1e8) | st.floats(-1e8, -2 * TOLERANCE_SECONDS)),
    ),
    max_size=30,
)


@given(STEPS)
def test_a_jumped_clock_is_believed_once_it_is_back_or_has_run_evenly_for_long(steps: list[tuple[str, float]]) -> None:
    wall, boot = 1.8e9, 1_000.0
    state, believed_error, error, even_since = ClockState(Reading(wall, boot, "a")), 0.0, 0.0, boot
    for kind, seconds in steps:
        boot, wall = boot + 1, wall + 1
        if kind == "wait":
            boot, wall = boot + seconds, wall + seconds
        else:
            wall, error, even_since = wall + seconds, error + seconds, boot
        state = state.next(Reading(wall, boot, "a"), HOLD_SECONDS)
        if state.is_trusted:
            is_back = abs(error - believed_error) <= TOLERANCE_SECONDS
            assert is_back or boot - even_since >= HOLD_SECONDS
            believed_error = error
        else:
            assert abs(error - believed_error) > TOLERANCE_SECONDS


@given(st.floats(-1e9, 1e9))
def test_over_a_restart_a_week_forward_is_believed_and_nothing_else(seconds: float) -> None:
    state = ClockState(Reading(1.8e9, 1_000.0, "a")).next(Reading(1.8e9 + seconds, 5.0, "b"), HOLD_SECONDS)
    assert state.is_trusted == (-TOLERANCE_SECONDS <= seconds <= OFF_SECONDS)
