"""What every part of a worker measures with and waits with."""

from __future__ import annotations

from typing import TypeAlias

from streams.clock import Clock, SystemClock
from streams.metrics import Metrics
from streams.readiness import instruments as of_process
from streams.readiness.health import Health
from streams.retry import Retry
from streams.worker.settings import WorkerSettings

Instruments: TypeAlias = of_process.Instruments[Metrics]


def worker_instruments(settings: WorkerSettings, metrics: Metrics, clock: Clock | None = None) -> Instruments:
    """Usable before anything is open: what a worker waits for at its start is known too."""
    clock = clock or SystemClock()
    health = Health(clock, settings.stall_seconds, waiting=metrics.waiting)
    retry = Retry(
        clock,
        health,
        metrics,
        first_seconds=settings.backoff_seconds,
        most_seconds=settings.backoff_max_seconds,
    )
    return Instruments(clock, metrics, health, retry)
