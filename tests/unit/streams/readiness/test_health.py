"""Ready and alive are two questions."""

from __future__ import annotations

import asyncio

import pytest
import structlog.testing
from prometheus_client import CollectorRegistry

from streams.clock import ManualClock
from streams.errors import Unavailable
from streams.metrics import ProcessMetrics
from streams.readiness.health import REMINDER_SECONDS, Health
from streams.retry import Retry
from tests.support.deployment import until


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


def test_it_waits_until_every_waiter_has_recovered() -> None:
    """A poll that finds nothing succeeds while the broker is away, and must not hide what fails meanwhile."""
    health, _ = worked()
    health.warmed()
    health.waits_for("broker", "no answer", "probe")
    health.waits_for("broker", "not leader", "commit")
    health.recovered("broker", "poll")
    health.recovered("broker", "commit")
    assert health.unready_reasons() == ["waits for broker: no answer"]
    health.recovered("broker", "probe")
    assert health.unready_reasons() == []


def test_every_reason_is_told_and_a_revoke_takes_them_back() -> None:
    health, _ = worked()
    health.warmed()
    for partition in ("frames.raw[0]", "frames.raw[1]"):
        health.waits_for("lost records", f"{partition}: gone", partition)
    assert health.unready_reasons() == [f"waits for lost records: frames.raw[{n}]: gone" for n in (0, 1)]
    health.all_give_up("lost records")
    assert health.unready_reasons() == []


def test_a_wait_is_counted_at_once_and_logged_rarely() -> None:
    clock, metrics = ManualClock(), ProcessMetrics(CollectorRegistry())
    health = Health(clock, 60, waiting=metrics.waiting)
    with structlog.testing.capture_logs() as lines:
        for _ in range(1000):
            health.waits_for("index", "refused")
            clock.advance(0.1)
        assert metrics.registry.get_sample_value("sightline_waiting", {"what": "index"}) == 1
        health.recovered("index")
        for _ in range(100):  # it comes and goes
            health.waits_for("index", "refused")
            health.recovered("index")
        assert [line["event"] for line in lines] == ["waits", "wait_is_over"]
        clock.advance(REMINDER_SECONDS)
        health.waits_for("index", "refused")
        assert [line["event"] for line in lines] == ["waits", "wait_is_over", "waits"]
    health.recovered("index")
    assert metrics.registry.get_sample_value("sightline_waiting", {"what": "index"}) == 0


async def test_a_call_that_is_given_up_is_no_longer_waited_for() -> None:
    metrics = ProcessMetrics(CollectorRegistry())
    health = Health(clock := ManualClock(), 60, waiting=metrics.waiting)

    async def away() -> None:
        raise Unavailable("away")

    retry = Retry(clock, health, metrics, first_seconds=1, most_seconds=1)
    calling = asyncio.create_task(retry.forever("broker", away, Unavailable))
    await until(lambda: health.waits)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert not health.waits
