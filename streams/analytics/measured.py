"""What the analytics measure with and wait with."""

from __future__ import annotations

from typing import TypeAlias

from prometheus_client import CollectorRegistry

from streams.metrics import AnalyticsMetrics
from streams.readiness.instruments import Instruments, instruments

Measured: TypeAlias = Instruments[AnalyticsMetrics]


def measured() -> Measured:
    """Usable before anything is open."""
    return instruments(AnalyticsMetrics(CollectorRegistry()), "counting has not begun")
