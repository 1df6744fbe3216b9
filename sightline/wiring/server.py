"""The page and its API over the opened parts."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from schemas.points import collection
from search.retrieve import Searcher
from sightline.api.app import create_app
from sightline.api.server import Server
from sightline.api.services import ApiSettings, Services
from sightline.wiring.build_worker import worker_settings
from sightline.wiring.parts import Parts

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


@asynccontextmanager
async def served(
    parts: Parts, searcher: Searcher, listener: socket.socket, registry: CollectorRegistry | None = None
) -> AsyncIterator[Server]:
    """Serve in the background while inside; open event streams do not hold up the end."""
    config = parts.config
    hosts = (*LOOPBACK, *config.serve.allowed_hosts)
    model_set = worker_settings(config).model_set
    settings = ApiSettings(
        tenant=config.tenant,
        model_set=model_set,
        collection=collection("frames", model_set),
        allowed_hosts=hosts,
        limit=config.search.limit,
    )
    services = Services(parts.transport, parts.index, parts.blobs, searcher, settings, registry)
    server = Server(create_app(services))
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield server
    finally:
        server.should_exit = True
        await running
