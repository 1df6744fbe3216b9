"""`sightline serve`: the page and the HTTP API."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack

from prometheus_client import CollectorRegistry

from schemas.topics import OBSERVED
from sightline.config import Config
from sightline.terminal.options import configured, err, print_lines
from sightline.terminal.signals import GRACE_SECONDS, doing, stopping
from sightline.terminal.storage import print_storage
from sightline.wiring.build_worker import frames_collection
from sightline.wiring.deletion_copy import restore_noted_deletions
from sightline.wiring.lost_parts import check_parts
from sightline.wiring.parts import Parts, open_with_topics, unopened
from sightline.wiring.searcher import opened_searcher
from sightline.wiring.server import listening_socket, page_url, served
from sightline.wiring.storage import storage_lines
from streams.metrics import ProcessMetrics
from streams.readiness.instruments import Instruments, instruments
from streams.readiness.probes import Probes
from streams.readiness.unfinished_watch import UnfinishedWatch
from streams.tasks import unless_stopped


@configured
async def serve(config: Config) -> None:
    """Serve the page and the HTTP API until Ctrl-C. Workers may run at the same time; none has to.

    While the log or the index is away the page is served without them.
    """
    listener, stop = listening_socket(config), asyncio.Event()
    with listener, stopping(stop.set, within=GRACE_SECONDS):
        await unless_stopped(stop, _serve(config, listener))


async def _serve(config: Config, listener: socket.socket) -> None:
    """Until it is cancelled. Raises what prevents the log from being opened for good."""
    measured = instruments(ProcessMetrics(CollectorRegistry()), "the log is not open yet")
    registry, health = measured.metrics.registry, measured.health
    async with unopened(config) as parts, AsyncExitStack() as stack:
        with doing("loading models"):
            searcher = await stack.enter_async_context(opened_searcher(config, parts.index, parts.blobs))
        await stack.enter_async_context(served(parts, searcher, listener, registry, health))
        err.print(f"the page is at [bold]{page_url(config, listener)}[/]", markup=True)
        with doing("serving the page"):
            await open_with_topics(parts.transport, config, measured.retry, as_is=True)
            await restore_noted_deletions(config, parts.transport)
            print_lines(await check_parts(config, parts.transport, needed=("index",)))
            print_storage(await storage_lines(config, parts.blobs))
            health.warmed()
            await _probe(parts, measured)


async def _probe(parts: Parts, measured: Instruments[ProcessMetrics]) -> None:
    probes = Probes(measured.clock, measured.retry)
    watch = UnfinishedWatch(parts.transport, measured.clock, measured.metrics, measured.health)
    probing = [
        watch.run(parts.plan, parts.config.worker.group),
        probes.broker(parts.transport, OBSERVED),
        probes.blobs(parts.blobs),
    ]
    if not parts.config.index_url.startswith("edge:"):  # the embedded index is started on demand, not by a probe
        probing.append(probes.index(parts.index, frames_collection(parts.config)))
    await asyncio.gather(*probing)
