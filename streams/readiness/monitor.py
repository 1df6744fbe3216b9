"""A process's endpoints for operators: `/metrics`, `/readyz` and `/healthz` over HTTP."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CollectorRegistry

from streams.metrics import exposition
from streams.readiness.health import Health

Answer = Callable[[web.Request], Awaitable[web.Response]]


class Monitor:
    """Serves while entered (`async with`) on `listener`, a listening socket, which it closes.

    `/readyz` is 503 with one reason a line while the process opens, after a stop by error, and while it waits; else
    `ready`, with warnings below it that make nothing unready;
    `/healthz` is 503 when the process should be restarted.
    """

    def __init__(self, health: Health, registry: CollectorRegistry, listener: socket.socket) -> None:
        self._listener = listener
        application = web.Application()
        application.add_routes(routes(health, registry))
        self._runner = web.AppRunner(application, access_log=None)

    async def __aenter__(self) -> Monitor:
        await self._runner.setup()
        await web.SockSite(self._runner, self._listener).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        return url_of(self._listener)


def routes(health: Health, registry: CollectorRegistry) -> list[web.RouteDef]:
    """The three paths, for a process that serves others beside them."""
    answers = {"/metrics": _metrics(registry), "/readyz": _readiness(health), "/healthz": _liveness(health)}
    return [web.get(path, answer) for path, answer in answers.items()]


def ready_text(health: Health) -> str:
    """`ready`, and a line for each thing that needs a person all the same."""
    return "\n".join(("ready", *(f"warning: {line}" for line in health.warnings)))


def url_of(listener: socket.socket) -> str:
    """`http://HOST:PORT` of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _metrics(registry: CollectorRegistry) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        body, content_type = exposition(registry, request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    return answer


def _readiness(health: Health) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return _response(health.unready_reasons(), ready_text(health))

    return answer


def _liveness(health: Health) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        stalled = health.stall_reason()
        return _response([stalled] if stalled else [], "alive")

    return answer


def _response(reasons: list[str], healthy: str) -> web.Response:
    return web.Response(text="\n".join(reasons or [healthy]) + "\n", status=503 if reasons else 200)
