"""The port where a long-running process shows its metrics and says whether it is ready; open before it waits."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from prometheus_client import CollectorRegistry

from sightline.config import Config, ServeSettings
from sightline.config_parser import ConfigError
from streams.readiness.health import Health
from streams.readiness.monitor import Monitor

log = structlog.get_logger()


@asynccontextmanager
async def monitored(config: Config, health: Health, registry: CollectorRegistry) -> AsyncIterator[Monitor]:
    """Serve on `serve.metrics_port` while inside; `monitor.url` is where. Raises ConfigError for a chosen port in use.

    The default port may be in use by another process of this machine: then it is a free one, and the log says so.
    """
    host, port = config.serve.host, config.serve.metrics_port
    try:
        listener = bound(host, port, "serve.metrics_port")
    except ConfigError:
        if port != ServeSettings().metrics_port:
            raise
        listener = bound(host, 0, "serve.metrics_port")
        log.warning("metrics_port_in_use", port=port, instead=listener.getsockname()[1])
    async with Monitor(health, registry, listener) as monitor:
        yield monitor


def bound(host: str, port: int, key: str) -> socket.socket:
    """A listening socket; 0 takes a free port. Raises ConfigError, naming the key of the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = f"{key} = {port}: {host}:{port}: {error.strerror}; choose another, or 0 for a free one"
        raise ConfigError([reason]) from None
