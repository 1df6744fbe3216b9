"""What every part of a process measures with and waits with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from streams.clock import Clock, SystemClock
from streams.metrics import ProcessMetrics
from streams.readiness.health import Health
from streams.retry import Retry

M = TypeVar("M", bound=ProcessMetrics)

FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.2, 5.0


@dataclass(frozen=True)
class Instruments(Generic[M]):
    clock: Clock
    metrics: M
    health: Health
    retry: Retry


def instruments(metrics: M, starting: str, clock: Clock | None = None) -> Instruments[M]:
    """For a process that commits no positions; `starting` is why it is not ready until `health.warmed`."""
    clock = clock or SystemClock()
    health = Health(clock, float("inf"), starting=starting, waiting=metrics.waiting)
    retry = Retry(clock, health, metrics, first_seconds=FIRST_PAUSE_SECONDS, most_seconds=MAX_PAUSE_SECONDS)
    return Instruments(clock, metrics, health, retry)
