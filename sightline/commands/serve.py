"""`sightline serve`: the page and the HTTP API."""

from __future__ import annotations

import asyncio

from sightline.api.server import listen
from sightline.config import Config
from sightline.terminal.options import UsageError, configured, err
from sightline.terminal.signals import stopping
from sightline.wiring.parts import opened
from sightline.wiring.searcher import load_searcher
from sightline.wiring.server import served


@configured
async def serve(config: Config) -> None:
    """Serve the page, until Ctrl-C. Workers may run beside it, or not."""
    host, port = config.serve.host, config.serve.port
    try:
        listener = listen(host, port)
    except OSError as error:
        raise UsageError(f"{host}:{port}: {error.strerror}; choose another: --set serve.port={port + 1}") from None
    async with opened(config) as parts:
        searcher = await asyncio.to_thread(load_searcher, config, parts.index, parts.blobs)
        ended = asyncio.Event()
        async with served(parts, searcher, listener):
            err.print(f"the page is at [bold]http://{host}:{listener.getsockname()[1]}[/]", markup=True)
            with stopping(ended.set):
                await ended.wait()
        searcher.close()
