"""What operators read of the page's server: `/metrics`, `/readyz`, `/healthz`; and the count of its answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from litestar import MediaType, Request, Response, get
from litestar.di import NamedDependency
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from prometheus_client import CollectorRegistry

from sightline.api.services import Services
from streams.metrics import ServerMetrics, exposition
from streams.readiness.monitor import ready_text

OTHER = "other"
"""Stands for paths without a route: what clients make up never becomes a label."""


@get("/metrics")
async def metrics(request: Request[Any, Any, Any], services: NamedDependency[Services]) -> Response[bytes]:
    content, content_type = exposition(services.registry, request.headers.get("accept", ""))
    return Response(content, headers={"content-type": content_type})


@get("/readyz", media_type=MediaType.TEXT)
async def readyz(services: NamedDependency[Services]) -> Response[str]:
    reasons = [] if services.health is None else services.health.unready_reasons()
    ready = "ready" if services.health is None else ready_text(services.health)
    return Response("\n".join(reasons or [ready]) + "\n", status_code=503 if reasons else 200)


@get("/healthz", media_type=MediaType.TEXT)
async def healthz() -> str:
    return "alive\n"


def counted(registry: CollectorRegistry) -> Callable[[ASGIApp], ASGIApp]:
    """A middleware that counts answers and times their beginning, on `registry`."""
    measures = ServerMetrics(registry)

    def middleware(app: ASGIApp) -> ASGIApp:
        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            began = time.perf_counter()

            async def sending(message: Message) -> None:
                if message["type"] == "http.response.start":
                    route = str(scope.get("path_template") or OTHER)
                    measures.requests.labels(route, message["status"]).inc()
                    measures.request_seconds.labels(route).observe(time.perf_counter() - began)
                await send(message)

            await app(scope, receive, sending)

        return answer

    return middleware
