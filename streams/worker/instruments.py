"""What every part of a worker measures with and waits with."""

from __future__ import annotations

from dataclasses import dataclass

from streams.clock import Clock
from streams.metrics import Metrics
from streams.retry import Retry
from streams.worker.health import Health


@dataclass(frozen=True, slots=True)
class Instruments:
    clock: Clock
    metrics: Metrics
    health: Health
    retry: Retry
