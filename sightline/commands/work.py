"""`sightline work`: take frames off the log, lead them through the stages, publish and index them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Annotated

import typer
from prometheus_client import CollectorRegistry

from sightline.config import Config
from sightline.terminal.options import UsageError, configured, err
from sightline.terminal.signals import leave_hung_stages, stopping
from sightline.wiring.build_worker import build_worker
from sightline.wiring.idle import caught_up
from sightline.wiring.parts import opened
from streams.worker.gc_tuning import collect_rarely
from streams.worker.monitor import Monitor
from streams.worker.worker import Worker

Segment = Annotated[int, typer.Option(help="Which segment of the plan, counted from 1.")]
UntilIdle = Annotated[bool, typer.Option("--until-idle", help="End when everything accepted so far is done.")]


@configured
async def work(
    config: Config,
    segment: Segment = 1,
    until_idle: UntilIdle = False,  # noqa: FBT002 - a flag as typed
) -> None:
    """Run one worker. SIGTERM or Ctrl-C finishes what is in flight and commits; a second one exits at once."""
    if not 1 <= segment <= len(config.segments):
        raise UsageError(f"--segment {segment}: the plan has {len(config.segments)}")
    registry = CollectorRegistry()
    async with opened(config) as parts:
        worker = build_worker(parts, segment - 1, registry)
        async with AsyncExitStack() as stack:
            monitor = await _monitor(stack, worker, registry, config)
            err.print(f"warming up; metrics and readiness on {monitor.url}")
            collect_rarely()
            with stopping(worker.stop):
                running = asyncio.create_task(worker.run())
                if until_idle:
                    idle = asyncio.create_task(caught_up(parts))
                    await asyncio.wait([running, idle], return_when=asyncio.FIRST_COMPLETED)
                    idle.cancel()
                    worker.stop()
                await running
                if until_idle and not idle.cancelled():
                    idle.result()  # what hindered the looking is not "idle"
    err.print("drained and committed")
    await asyncio.to_thread(leave_hung_stages)


async def _monitor(stack: AsyncExitStack, worker: Worker, registry: CollectorRegistry, config: Config) -> Monitor:
    """On the configured port, or on a free one where a second worker of this machine has it already."""
    host, port = config.serve.host, config.serve.metrics_port
    try:
        return await stack.enter_async_context(Monitor(worker, registry, host, port))
    except OSError:
        err.print(f"port {port} is taken, by another worker perhaps; metrics are on a free one")
        return await stack.enter_async_context(Monitor(worker, registry, host, 0))
