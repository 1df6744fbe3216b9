"""When unknown errors are a frame's fault, and when they are the stage's."""

from __future__ import annotations

from streams.worker.stage_policy import FAILURES_IN_A_ROW, FailureWindow


def test_poison_among_good_frames_is_the_frames_fault() -> None:
    suspicion = FailureWindow()
    for number in range(50):
        suspicion.succeeded(9)
        assert not suspicion.failed(f"feed{number}")


def test_failures_over_several_feeds_are_the_stages_fault() -> None:
    suspicion = FailureWindow()
    suspicion.succeeded(2)
    assert [suspicion.failed(feed) for feed in ("a", "b", "a", "b")] == [False, False, False, True]


def test_one_feed_alone_takes_longer_to_convict_the_stage() -> None:
    suspicion = FailureWindow()
    assert [suspicion.failed("a") for _ in range(FAILURES_IN_A_ROW)] == [False] * (FAILURES_IN_A_ROW - 1) + [True]


def test_a_success_between_ends_the_row() -> None:
    suspicion = FailureWindow()
    for _ in range(20):
        assert not suspicion.failed("a")
        suspicion.succeeded(1)
