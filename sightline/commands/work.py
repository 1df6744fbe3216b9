"""`sightline work`: one worker, which takes frames off the log, runs the stages, publishes and indexes."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from functools import partial
from typing import Annotated, Any

import typer
from prometheus_client import CollectorRegistry

from sightline.config import Config
from sightline.terminal.options import UsageError, configured, err, print_lines
from sightline.terminal.render import monitor_line
from sightline.terminal.signals import is_own_process, leave_hung_stages, stopping
from sightline.terminal.storage import print_storage
from sightline.wiring.build_worker import build_worker
from sightline.wiring.config_check import check_config
from sightline.wiring.idle import caught_up
from sightline.wiring.lost_parts import check_parts
from sightline.wiring.monitoring import monitored
from sightline.wiring.parts import Parts, opened
from sightline.wiring.storage import storage_lines
from sightline.wiring.unfinished import warn_of_unfinished
from stores.errors import Damaged, StoreError
from streams.errors import Unavailable
from streams.metrics import Metrics
from streams.tasks import in_daemon_thread, unless_stopped
from streams.worker.gc_tuning import collect_rarely
from streams.worker.instruments import Instruments, worker_instruments
from streams.worker.worker import End, Worker

Segment = Annotated[int, typer.Option(help="The segment of the plan to work on, counted from 1.")]
STAGE_SECONDS, LOADING_SECONDS = 2.0, 0.2
"""How long the exit waits for a stage that still computes, and for one that still loads."""
ENDS: dict[End, str] = {
    "committed": "drained and committed",
    "unfinished": "stopped; frames in flight could not be committed in time and will be processed again",
    "not_begun": "stopped before it took any frame",
}
STATUSES: dict[End, int] = {"committed": 0, "unfinished": 1, "not_begun": 0}
UntilIdle = Annotated[bool, typer.Option("--until-idle", help="Exit when everything accepted is processed.")]


@configured
async def work(
    config: Config,
    segment: Segment = 1,
    until_idle: UntilIdle = False,  # noqa: FBT002 - a flag as typed
) -> None:
    """Run one worker until SIGTERM or Ctrl-C, which finish and commit what is in flight. A second one exits at once.

    While the log or the index is away the worker waits; a signal then ends it at once.
    """
    check_config(config)
    if not 1 <= segment <= len(config.segments):
        raise UsageError(f"--segment {segment}: the plan has {len(config.segments)}")
    end = await _work(config, segment - 1, until_idle=until_idle)
    err.print(ENDS[end])
    if is_own_process():
        leave_hung_stages(LOADING_SECONDS if end == "not_begun" else STAGE_SECONDS, STATUSES[end])
    if STATUSES[end]:
        raise typer.Exit(STATUSES[end])


async def _work(config: Config, segment: int, *, until_idle: bool) -> End:
    instruments = worker_instruments(config.worker, Metrics(CollectorRegistry()))
    stop = asyncio.Event()
    async with (
        monitored(config, instruments.health, instruments.metrics.registry) as monitor,
        AsyncExitStack() as stack,
    ):
        err.print(monitor_line("warming up", monitor.url, config.serve.metrics_port))
        stack.enter_context(stopping(stop.set, note="stopping; a second Ctrl-C ends at once"))
        entering = stack.enter_async_context(opened(config, instruments.retry))
        if (parts := await unless_stopped(stop, entering)) is None:
            return "not_begun"
        check = partial(check_parts, config, parts.transport, parts.index, needed=("index", "pictures"))
        if await unless_stopped(stop, instruments.retry.forever("broker", check, Unavailable)) is None:
            return "not_begun"
        if (lines := await unless_stopped(stop, warn_of_unfinished(config, parts.transport, instruments))) is None:
            return "not_begun"
        print_lines(lines)
        if until_idle:
            await unless_stopped(stop, _check_index(parts))
        print_storage(await storage_lines(config, parts.blobs))
        build = partial(build_worker, parts, segment, instruments=instruments)
        if (worker := await unless_stopped(stop, in_daemon_thread(build))) is None:
            return "not_begun"
        collect_rarely()
        idle = _until_idle(parts, worker, instruments) if until_idle else None
        await _run(worker, stop, idle)
    return worker.end


async def _check_index(parts: Parts) -> None:
    """Raises Damaged, for which a worker waits until it is repaired: a run that has an end has it now."""
    try:
        await parts.index.collections()
    except StoreError as error:
        if isinstance(error, Damaged):
            raise


async def _until_idle(parts: Parts, worker: Worker, instruments: Instruments) -> None:
    """A run that is too short for the worker's own upkeep applies retention at its end."""
    await instruments.retry.forever("broker", partial(caught_up, parts), Unavailable)
    await worker.keep_storage()


async def _run(worker: Worker, stop: asyncio.Event, idle: Coroutine[Any, Any, None] | None) -> None:
    """Until the worker ends, `stop` is set or `idle` returns. Raises what ended the worker."""
    running: asyncio.Task[object] = asyncio.create_task(worker.run())
    ends = {running, asyncio.create_task(stop.wait())}
    if idle is not None:
        ends.add(asyncio.create_task(idle))
    done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    worker.stop()
    for other in ends - {running}:
        other.cancel()
    await running
    for other in done - {running}:
        other.result()
