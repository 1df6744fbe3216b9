"""`sightline analytics`: counts per window and the health of feeds, from `frames.observed`, as JSON over HTTP."""

from __future__ import annotations

import asyncio
import tempfile

from schemas.topics import OBSERVED
from sightline.config import Config
from sightline.terminal.options import configured, err
from sightline.terminal.signals import stopping
from sightline.wiring.parts import opened_transport


@configured
def analytics(config: Config) -> None:
    """Count frames, labels and dead letters by feed and window, and detect silent, dark and frozen feeds.

    Runs until Ctrl-C: on Kafka as a Faust app with a changelog, on the embedded log with the same reducers alone.
    """
    if config.transport_url.startswith("kafka:"):
        _on_faust(config)
    else:
        asyncio.run(_embedded(config))


def _print_url(url: str) -> None:
    err.print(f"counts and health are at [bold]{url}/feeds[/] and [bold]{url}/windows[/]", markup=True)


async def _embedded(config: Config) -> None:
    from streams.analytics.embedded import FileTable, count_until
    from streams.analytics.json_server import serve_view
    from streams.analytics.ledger import Ledger
    from streams.analytics.ledger_view import LedgerView

    stopped, settings = asyncio.Event(), config.analytics
    async with opened_transport(config) as transport:
        table = FileTable(config.data_path / "analytics.sqlite")
        try:
            view = LedgerView(Ledger(table, settings))
            async with serve_view(view, config.serve.host, settings.port) as url:
                _print_url(url)
                with stopping(stopped.set):
                    await count_until(transport, table, settings, stopped)
        finally:
            table.close()


def _on_faust(config: Config) -> None:
    from streams.analytics import faust_app
    from streams.kafka.settings import KafkaSettings

    partitions = asyncio.run(_with_changelog(config))
    settings = config.analytics
    with tempfile.TemporaryDirectory(prefix="sightline-analytics-") as folder:
        app = faust_app.make_app(settings, KafkaSettings.from_url(config.transport_url), partitions, folder)
        ledger = faust_app.counting(app, settings, partitions)
        faust_app.serving(app, ledger, config.serve.host, settings.port, _print_url)
        faust_app.run(app)


async def _with_changelog(config: Config) -> int:
    """Create the changelog's topic if it is missing. Returns its number of partitions."""
    from streams.analytics.faust_app import changelog

    async with opened_transport(config) as transport:
        partitions = (await transport.topics())[OBSERVED].partitions
        await transport.create([changelog(config.analytics, partitions)])
        return partitions
