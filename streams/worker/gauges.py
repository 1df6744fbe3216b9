"""Looks at the worker now and then: the loop's delay, what is in flight, the lag, whether vectors differ."""

from __future__ import annotations

from collections.abc import Callable

from streams.clock import Clock
from streams.errors import Unavailable
from streams.metrics import Metrics, gpu_memory_bytes
from streams.transport import Consumer
from streams.worker.health import Health
from streams.worker.offsets import OffsetTracker
from streams.worker.vector_drift import VectorDrift


async def watch(
    consumer: Consumer,
    tracker: OffsetTracker,
    recent: VectorDrift,
    *,
    size_bytes: Callable[[], int],
    every_seconds: float,
    clock: Clock,
    health: Health,
    metrics: Metrics,
) -> None:
    """For ever."""
    while True:
        asleep = clock.monotonic()
        await clock.sleep(every_seconds)
        metrics.loop_delay_seconds.observe(max(0.0, clock.monotonic() - asleep - every_seconds))
        metrics.in_flight.set(tracker.in_flight())
        metrics.in_flight_bytes.set(size_bytes())
        metrics.gpu_memory_bytes.set(gpu_memory_bytes())
        metrics.waiting.clear()
        for what in health.waits:
            metrics.waiting.labels(what).set(1)
        recent.report()
        await _look_at_lag(consumer, health, metrics)


async def _look_at_lag(consumer: Consumer, health: Health, metrics: Metrics) -> None:
    try:
        behind = await consumer.lag()
    except Unavailable:
        return  # the poll says so, and waits
    metrics.lag.clear()
    for partition, records in behind.items():
        metrics.lag.labels(partition.topic, partition.index).set(records)
    health.set_lag(sum(behind.values()))
