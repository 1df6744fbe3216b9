"""The server of the application: its port, and an end that open event streams do not delay."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Generator

import uvicorn

from sightline.api.app import Application
from sightline.api.slow_clients import DeadlineProtocol

GRACE_SECONDS = 5
"""Time for running requests when the server ends."""


class Server(uvicorn.Server):
    """`await server.serve(sockets=[listener])` until `server.should_exit` is set or a signal comes."""

    def __init__(self, app: Application, protocol: type[DeadlineProtocol] = DeadlineProtocol) -> None:
        self._app = app
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="on",
                http=protocol,
                ws="none",
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.live.close()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Signals are left to the command, which has workers to stop too."""
        yield


def listen(host: str, port: int, *, tries: int = 1) -> socket.socket:
    """A listening socket at `port` or, if it is taken, at one of the `tries` - 1 after it; 0 takes a free one.

    If all are taken, raises the OSError of the first port.
    """
    first: OSError | None = None
    for candidate in range(port, port + tries):
        try:
            return socket.create_server((host, candidate), backlog=128, family=_family(host))
        except OSError as error:
            first = first or error
    raise first or OSError("no port was tried")


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
