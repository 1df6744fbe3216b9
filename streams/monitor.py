"""What a worker shows to whoever runs it: `/metrics`, `/readyz`, `/healthz` over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from streams.health import Health

Answer = Callable[[web.Request], Awaitable[web.Response]]


@asynccontextmanager
async def monitor(health: Health, registry: CollectorRegistry, *, host: str, port: int) -> AsyncIterator[int]:
    """Serve until left; yields the port, which is a free one where `port` is 0. Raises OSError for a taken one.

    `/readyz` is 503 with one reason a line before the models are warm, after a stop by error, and while the worker
    waits; `/healthz` is 503 when the process should be started anew.
    """
    application = web.Application()
    application.router.add_get("/metrics", _metrics(registry))
    application.router.add_get("/readyz", _readiness(health))
    application.router.add_get("/healthz", _liveness(health))
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def _metrics(registry: CollectorRegistry) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return answer


def _readiness(health: Health) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return _verdict(health.unready_reasons(), "ready")

    return answer


def _liveness(health: Health) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        stalled = health.stall_reason()
        return _verdict([stalled] if stalled else [], "alive")

    return answer


def _verdict(reasons: list[str], good: str) -> web.Response:
    return web.Response(text="\n".join(reasons or [good]) + "\n", status=503 if reasons else 200)
