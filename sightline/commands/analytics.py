"""`sightline analytics`: windowed counts and the health of feeds, from small derived events, as JSON over HTTP."""

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
    """Count frames, labels and dead letters by feed and window, and tell silent, dark and frozen feeds.

    On Kafka a Faust app with a changelog, beside the embedded log the same reducers without it. Until Ctrl-C.
    """
    if config.transport_url.startswith("kafka:"):
        _on_faust(config)
    else:
        asyncio.run(_embedded(config))


def _told(url: str) -> None:
    err.print(f"counts and health are at [bold]{url}/feeds[/] and [bold]{url}/windows[/]", markup=True)


async def _embedded(config: Config) -> None:
    from streams.analytics.embedded import FileTable, count
    from streams.analytics.json_server import served
    from streams.analytics.ledger import Ledger
    from streams.analytics.ledger_view import View

    ended, settings = asyncio.Event(), config.analytics
    async with opened_transport(config) as transport:
        table = FileTable(config.data_path / "analytics.sqlite")
        try:
            view = View(Ledger(table, settings))
            async with served(view, config.serve.host, settings.port) as url:
                _told(url)
                with stopping(ended.set):
                    await count(transport, table, settings, ended)
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
        faust_app.serving(app, ledger, config.serve.host, settings.port, _told)
        faust_app.run(app)


async def _with_changelog(config: Config) -> int:
    """Make the changelog's topic where it is missing; how many partitions there are."""
    from streams.analytics.faust_app import changelog

    async with opened_transport(config) as transport:
        partitions = (await transport.topics())[OBSERVED].partitions
        await transport.create([changelog(config.analytics, partitions)])
        return partitions
