"""A worker's endpoints for operators: `/metrics`, `/readyz` and `/healthz` over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from streams.worker.health import Health

Answer = Callable[[web.Request], Awaitable[web.Response]]


class HasHealth(Protocol):
    @property
    def health(self) -> Health: ...


class Monitor:
    """Serves while entered (`async with`), on a free port where `port` is 0. Raises OSError for a port that is taken.

    `/readyz` is 503 with one reason a line before the models are warm, after a stop by error, and while the worker
    waits; `/healthz` is 503 when the process should be restarted.
    """

    def __init__(self, worker: HasHealth, registry: CollectorRegistry, host: str, port: int) -> None:
        self._host = host
        self._port = port
        application = web.Application()
        application.router.add_get("/metrics", _metrics(registry))
        application.router.add_get("/readyz", _readiness(worker.health))
        application.router.add_get("/healthz", _liveness(worker.health))
        self._runner = web.AppRunner(application, access_log=None)

    async def __aenter__(self) -> Monitor:
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError:
            await self._runner.cleanup()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        return f"http://{self._host}:{self._runner.addresses[0][1]}"


def _metrics(registry: CollectorRegistry) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return answer


def _readiness(health: Health) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return _response(health.unready_reasons(), "ready")

    return answer


def _liveness(health: Health) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        stalled = health.stall_reason()
        return _response([stalled] if stalled else [], "alive")

    return answer


def _response(reasons: list[str], healthy: str) -> web.Response:
    return web.Response(text="\n".join(reasons or [healthy]) + "\n", status=503 if reasons else 200)
