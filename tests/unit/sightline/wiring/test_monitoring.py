"""The port of a process' metrics: a chosen one is never replaced, the default one not without a word."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest
import structlog.testing
from prometheus_client import CollectorRegistry

from sightline.config import Config, ServeSettings
from sightline.config_parser import ConfigError
from sightline.wiring.monitoring import monitored
from streams.clock import ManualClock
from streams.readiness.health import Health

DEFAULT = ServeSettings().metrics_port


async def port_of(config: Config) -> int:
    async with monitored(config, Health(ManualClock(), 60), CollectorRegistry()) as monitor:
        return int(monitor.url.rpartition(":")[2])


async def test_the_default_port_in_use_is_replaced_and_the_log_says_so() -> None:
    with socket.socket() as other:
        with suppress(OSError):  # another process of this machine may have it
            other.bind(("127.0.0.1", DEFAULT))
            other.listen()
        with structlog.testing.capture_logs() as lines:
            port = await port_of(Config())
    assert port != DEFAULT
    assert [(line["event"], line["port"], line["instead"]) for line in lines] == [
        ("metrics_port_in_use", DEFAULT, port)
    ]


async def test_a_chosen_port_in_use_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"metrics_port = {taken}"):
            await port_of(Config(serve=ServeSettings(metrics_port=taken)))
