"""Ready and alive are two questions."""

from __future__ import annotations

from streams.clock import ManualClock
from streams.worker.health import Health


def worked(stall_seconds: float = 60) -> tuple[Health, ManualClock]:
    clock = ManualClock()
    health = Health(clock, stall_seconds)
    return health, clock


def test_ready_when_warm_and_nothing_is_waited_for() -> None:
    health, _ = worked()
    assert health.unready_reasons() == ["models are not warm yet"]
    health.warmed()
    assert health.unready_reasons() == []
    health.waits_for("index", "refused")
    health.waits_for("broker", "away")
    assert health.unready_reasons() == ["waits for index: refused", "waits for broker: away"]
    health.recovered("index")
    health.recovered("broker")
    assert health.unready_reasons() == []


def test_a_stop_by_error_stays() -> None:
    health, _ = worked()
    health.warmed()
    health.stopped("StageBroken: all is lost")
    health.recovered("index")
    assert health.unready_reasons() == ["stopped: StageBroken: all is lost"]


def test_standing_still_with_work_to_do_is_a_stall() -> None:
    health, clock = worked()
    clock.advance(1000)
    health.warmed()
    health.set_lag(5)
    clock.advance(61)
    assert health.stall_reason() == "5 records to do and nothing committed for 61 s"
    health.progressed()
    assert health.stall_reason() is None


def test_no_stall_without_work_while_waiting_before_warm_or_after_a_stop() -> None:
    health, clock = worked()
    health.set_lag(5)
    clock.advance(1000)
    assert health.stall_reason() is None, "loading takes its time"
    health.warmed()
    health.set_lag(0)
    clock.advance(1000)
    assert health.stall_reason() is None, "nothing to do"
    health.set_lag(5)
    assert health.stall_reason() is None, "the work has only come"
    health.waits_for("index", "away")
    clock.advance(1000)
    assert health.stall_reason() is None, "a restart would not bring the index back"
    health.recovered("index")
    assert health.stall_reason() is None, "it is given time to catch up"
    clock.advance(61)
    assert health.stall_reason()
    health.stopped("cause")
    assert health.stall_reason() is None
