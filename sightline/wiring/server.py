"""Serves the page and its API over the opened parts."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from schemas import points
from search.retrieve import Searcher
from sightline.api.app import create_app
from sightline.api.server import Server, listen
from sightline.api.services import ApiSettings, Services
from sightline.config import Config
from sightline.config_parser import ConfigError
from sightline.wiring.build_worker import worker_settings
from sightline.wiring.parts import Parts
from sightline.wiring.stage_loader import skip_states
from streams.readiness.health import Health

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def listening_socket(config: Config, *, tries: int = 1) -> socket.socket:
    """At the configured port, or at one of the `tries` - 1 after it. Raises ConfigError when all are taken."""
    host, port = config.serve.host, config.serve.port
    try:
        return listen(host, port, tries=tries)
    except OSError as error:
        others = f" and the {tries - 1} ports after it" if tries > 1 else ""
        raise ConfigError(
            [f"{host}:{port}{others}: {error.strerror}; choose another port: --set serve.port={port + tries}"]
        ) from None


def page_url(config: Config, listener: socket.socket) -> str:
    return f"http://{config.serve.host}:{listener.getsockname()[1]}"


@asynccontextmanager
async def served(
    parts: Parts,
    searcher: Searcher,
    listener: socket.socket,
    registry: CollectorRegistry | None = None,
    health: Health | None = None,
) -> AsyncIterator[Server]:
    """Serve in the background while inside; open event streams do not delay the end."""
    services = Services(
        parts.transport,
        parts.index,
        parts.blobs,
        searcher,
        _api_settings(parts.config),
        registry or CollectorRegistry(),
        health,
    )
    server = Server(create_app(services))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield server
    finally:
        server.should_exit = True
        await serving


def _is_local(config: Config) -> bool:
    """Whether everything stays on this machine: the embedded log and index, and a folder of pictures."""
    is_embedded = config.transport_url.startswith("sqlite:") and config.index_url.startswith("edge:")
    return is_embedded and "://" not in config.blobs_url and config.serve.host in ("127.0.0.1", "::1", "localhost")


def _api_settings(config: Config) -> ApiSettings:
    model_set = worker_settings(config).model_set
    return ApiSettings(
        tenant=config.tenant,
        model_set=model_set,
        collection=points.collection(points.FRAMES, model_set),
        allowed_hosts=(*LOOPBACK, *config.serve.allowed_hosts),
        limit=config.search.limit,
        zone=config.zone,
        is_local=_is_local(config),
        reads_raw=config.transport_url.startswith("sqlite:"),
        skip_states=skip_states(config),
    )
