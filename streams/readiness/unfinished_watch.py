"""Looks at an interval for what no worker finishes: `/readyz` and the page say it, and metrics count it."""

from __future__ import annotations

import asyncio

import structlog

from streams.clock import Clock
from streams.errors import StreamError
from streams.lifecycle.unfinished import Unfinished, find_unfinished
from streams.metrics import ProcessMetrics
from streams.plan import Plan
from streams.readiness.health import Health
from streams.transport import Transport

log = structlog.get_logger()
WATCH_SECONDS = 60.0
"""What it looks for takes hours; a broker is asked about each group."""
ANSWER_SECONDS = 30.0
SUBJECT = "unfinished records"


class UnfinishedWatch:
    """`run` until it is cancelled. A log that is away is for the probes to report, a missing right is logged once."""

    def __init__(self, transport: Transport, clock: Clock, metrics: ProcessMetrics, health: Health) -> None:
        self._transport, self._clock = transport, clock
        self._metrics, self._health = metrics, health
        self._failed = False

    async def run(self, plan: Plan, group_prefix: str) -> None:
        while True:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    self.show(await find_unfinished(self._transport, plan, group_prefix, self._clock.now()))
                self._failed = False
            except (StreamError, TimeoutError) as error:
                if not self._failed:
                    log.warning("unfinished_records_not_known", why=str(error) or type(error).__name__)
                self._failed = True
            await self._clock.sleep(WATCH_SECONDS)

    def show(self, found: Unfinished) -> None:
        """Replaces what was shown before; what was not is logged."""
        metrics = self._metrics
        for gauge in (metrics.left_over, metrics.absent_group, metrics.retention_share):
            gauge.clear()
        for left in found.left_over:
            metrics.left_over.labels(left.topic).set(left.records)
        for absent in found.absent:
            metrics.absent_group.labels(absent.name).set(absent.records)
        for oldest in found.oldest:
            metrics.retention_share.labels(oldest.group, oldest.topic).set(oldest.share)
        for line in found.warnings:
            if line not in self._health.warnings:
                log.warning("needs_attention", what=line)
        self._health.warn(SUBJECT, found.warnings)
