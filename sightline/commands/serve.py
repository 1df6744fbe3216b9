"""`sightline serve`: the page and the HTTP API."""

from __future__ import annotations

import asyncio

from sightline.config import Config
from sightline.terminal.options import configured, err
from sightline.terminal.signals import stopping
from sightline.wiring.parts import opened
from sightline.wiring.searcher import opened_searcher
from sightline.wiring.server import listening_socket, page_url, served


@configured
async def serve(config: Config) -> None:
    """Serve the page and the HTTP API until Ctrl-C. Workers may run at the same time; none has to."""
    listener = listening_socket(config)
    stopped = asyncio.Event()
    async with (
        opened(config) as parts,
        opened_searcher(config, parts.index, parts.blobs) as searcher,
        served(parts, searcher, listener),
    ):
        err.print(f"the page is at [bold]{page_url(config, listener)}[/]", markup=True)
        with stopping(stopped.set):
            await stopped.wait()
