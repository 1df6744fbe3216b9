"""The Faust app alone, to be killed: `python -m tests.kafka.analytics_process URL PORT FOLDER`."""

from __future__ import annotations

import asyncio
import socket
import sys

from streams.analytics.faust_app import Place, counting, make_app, run, showing
from streams.analytics.json_server import Counts, serve_counts
from streams.analytics.measured import measured
from streams.analytics.settings import AnalyticsSettings
from streams.kafka.settings import KafkaSettings

PARTITIONS = 4
SETTINGS = AnalyticsSettings(instance="one")


def main(url: str, port: str, folder: str) -> None:
    kafka, counts = KafkaSettings.from_url(url), Counts(measured())
    place = Place(PARTITIONS, folder)
    app = make_app(SETTINGS, kafka, place)
    showing(app, counting(app, SETTINGS, place, counts.measured.metrics), counts, kafka, place)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    serving = loop.create_task(serve(counts, socket.create_server(("127.0.0.1", int(port)))))
    run(app, loop)
    serving.cancel()


async def serve(counts: Counts, listener: socket.socket) -> None:
    async with serve_counts(counts, listener) as url:
        print(url)
        await asyncio.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
