"""`sightline work`: one worker, which takes frames off the log, runs the stages, publishes and indexes."""

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
from sightline.wiring.parts import Parts, opened
from streams.worker.gc_tuning import collect_rarely
from streams.worker.monitor import Monitor
from streams.worker.worker import Worker

Segment = Annotated[int, typer.Option(help="The segment of the plan to work on, counted from 1.")]
UntilIdle = Annotated[bool, typer.Option("--until-idle", help="Exit when everything accepted is processed.")]


@configured
async def work(
    config: Config,
    segment: Segment = 1,
    until_idle: UntilIdle = False,  # noqa: FBT002 - a flag as typed
) -> None:
    """Run one worker until SIGTERM or Ctrl-C, which finish and commit what is in flight. A second one exits at once."""
    if not 1 <= segment <= len(config.segments):
        raise UsageError(f"--segment {segment}: the plan has {len(config.segments)}")
    registry = CollectorRegistry()
    async with opened(config) as parts, AsyncExitStack() as stack:
        worker = build_worker(parts, segment - 1, registry)
        monitor = await _monitor(stack, worker, registry, config)
        err.print(f"warming up; metrics and readiness on {monitor.url}")
        collect_rarely()
        with stopping(worker.stop):
            await (_run_until_idle(worker, parts) if until_idle else worker.run())
    err.print("drained and committed")
    await asyncio.to_thread(leave_hung_stages)


async def _run_until_idle(worker: Worker, parts: Parts) -> None:
    """Raises what ended the worker, or what prevented looking for the end of the work."""
    running, idle = asyncio.create_task(worker.run()), asyncio.create_task(caught_up(parts))
    done, _ = await asyncio.wait([running, idle], return_when=asyncio.FIRST_COMPLETED)
    idle.cancel()
    worker.stop()
    await running
    if idle in done:
        idle.result()


async def _monitor(stack: AsyncExitStack, worker: Worker, registry: CollectorRegistry, config: Config) -> Monitor:
    """On the configured port, or on a free one where another worker of this machine has taken it."""
    host, port = config.serve.host, config.serve.metrics_port
    try:
        return await stack.enter_async_context(Monitor(worker, registry, host, port))
    except OSError:
        err.print(f"port {port} is taken, perhaps by another worker; metrics are on a free port")
        return await stack.enter_async_context(Monitor(worker, registry, host, 0))
