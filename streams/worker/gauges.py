"""Gauges that are read at an interval, not per frame: the loop's delay, frames in flight, lag, vector drift."""

from __future__ import annotations

import asyncio

from streams.errors import Unavailable
from streams.metrics import gpu_memory_bytes
from streams.readiness.probes import ANSWER_SECONDS
from streams.transport import Consumer
from streams.worker.instruments import Instruments
from streams.worker.offsets import OffsetTracker
from streams.worker.vector_drift import VectorDrift


class Gauges:
    def __init__(
        self, consumer: Consumer, offsets: OffsetTracker, drift: VectorDrift, instruments: Instruments
    ) -> None:
        self._consumer, self._offsets, self._drift = consumer, offsets, drift
        self._metrics, self._health = instruments.metrics, instruments.health

    async def update(self, *, loop_delay_seconds: float, held_bytes: int) -> None:
        metrics = self._metrics
        metrics.loop_delay_seconds.observe(max(0.0, loop_delay_seconds))
        metrics.in_flight.set(self._offsets.in_flight())
        metrics.in_flight_bytes.set(held_bytes)
        metrics.gpu_memory_bytes.set(gpu_memory_bytes())
        self._drift.report()
        await self._update_lag()

    async def _update_lag(self) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                behind = await self._consumer.lag()
        except (Unavailable, TimeoutError):
            return  # the probe of the broker reports it
        self._metrics.lag.clear()
        for partition, records in behind.items():
            self._metrics.lag.labels(partition.topic, partition.index).set(records)
        self._health.set_lag(sum(behind.values()))
