"""`sightline analytics`: counts per window and the health of feeds, from `frames.observed`, as JSON over HTTP."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from typing import TYPE_CHECKING

from schemas.topics import OBSERVED
from sightline.config import Config
from sightline.terminal.options import configured, err
from sightline.terminal.signals import GRACE_SECONDS, stopping
from sightline.wiring.monitoring import bound
from sightline.wiring.parts import opened_transport
from streams.tasks import unless_stopped

if TYPE_CHECKING:
    from streams.analytics.json_server import Counts

NOT_BEGUN = "stopped before it counted anything"


@configured
def analytics(config: Config) -> None:
    """Count frames, labels and dead letters by feed and window, and detect silent, dark and frozen feeds.

    Runs until Ctrl-C: on Kafka as a Faust app with a changelog, on the embedded log with the same reducers alone. While
    the log is away it waits.
    """
    from streams.analytics.json_server import Counts
    from streams.analytics.measured import measured

    counts = Counts(measured())
    listener = bound(config.serve.host, config.analytics.port, "analytics.port")
    if config.transport_url.startswith("kafka:"):
        _on_faust(config, counts, listener)
    else:
        asyncio.run(_embedded(config, counts, listener))


def _print_url(url: str) -> None:
    err.print(f"counts and health are at [bold]{url}/feeds[/] and [bold]{url}/windows[/]", markup=True)


async def _embedded(config: Config, counts: Counts, listener: socket.socket) -> None:
    from streams.analytics.json_server import serve_counts

    stop = asyncio.Event()
    async with serve_counts(counts, listener) as url:
        _print_url(url)
        with stopping(stop.set, within=GRACE_SECONDS):
            await unless_stopped(stop, _count(config, counts))
    if counts.view is None:
        err.print(NOT_BEGUN)


async def _count(config: Config, counts: Counts) -> None:
    from streams.analytics.embedded import FileTable, count
    from streams.analytics.ledger import Ledger
    from streams.analytics.ledger_view import LedgerView

    async with opened_transport(config, counts.measured.retry) as transport:
        table = FileTable(config.data_path / "analytics.sqlite")
        try:
            ledger = Ledger(table, config.analytics)
            counts.view = LedgerView(ledger)
            await count(transport, ledger, table, counts.measured)
        finally:
            table.close()


def _on_faust(config: Config, counts: Counts, listener: socket.socket) -> None:
    from streams.analytics import faust_app
    from streams.kafka.settings import KafkaSettings

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    serving = loop.create_task(_serve(counts, listener))
    partitions = loop.run_until_complete(_prepared(config, counts))
    if partitions is None:
        serving.cancel()
        loop.run_until_complete(asyncio.gather(serving, return_exceptions=True))
        err.print(NOT_BEGUN)
        return
    settings, kafka = config.analytics, KafkaSettings.from_url(config.transport_url)
    with tempfile.TemporaryDirectory(prefix="sightline-analytics-") as folder:
        place = faust_app.Place(partitions, folder, config.namespace)
        app = faust_app.make_app(settings, kafka, place)
        ledger = faust_app.counting(app, settings, place, counts.measured.metrics)
        faust_app.showing(app, ledger, counts, kafka, place)
        faust_app.run(app, loop)


async def _serve(counts: Counts, listener: socket.socket) -> None:
    """Until it is cancelled."""
    from streams.analytics.json_server import serve_counts

    async with serve_counts(counts, listener) as url:
        _print_url(url)
        await asyncio.Event().wait()


async def _prepared(config: Config, counts: Counts) -> int | None:
    """The number of partitions, with every topic created; None if a signal came first."""
    stop = asyncio.Event()
    with stopping(stop.set):
        return await unless_stopped(stop, _with_changelog(config, counts))


async def _with_changelog(config: Config, counts: Counts) -> int:
    """Create the changelog's topic if it is missing. Returns its number of partitions."""
    from streams.analytics.faust_app import changelog

    async with opened_transport(config, counts.measured.retry) as transport:
        partitions = (await transport.topics())[OBSERVED].partitions
        await transport.create([changelog(config.analytics, partitions)])
        return partitions
