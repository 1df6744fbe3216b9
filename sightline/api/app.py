"""The HTTP API and the page, as one application.

    GET  /api/events                         server-sent events: `status` and `frame`
    GET  /api/search?q=&like=&feed=&label=&since=&until=&not=&limit=&cursor=&fold=
    POST /api/search/image?…                 by the picture in the body
    GET  /api/examples                       queries that find something
    GET  /api/frames/ID                      the event; below it /card, /image, /thumbnail and /annotated
    GET  /api/status                         model set, counts, feeds, warnings
    GET  /metrics                            Prometheus metrics
    GET  /readyz, /healthz                   whether the server is ready, and alive
    GET  /                                   the page

HEAD is answered wherever GET is. Errors are `{"error": {"code", "message"}}`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from litestar import Litestar, Request, get
from litestar.di import NamedDependency, Provide
from litestar.response import ServerSentEvent, ServerSentEventMessage
from litestar.types import ASGIApp, Receive, Scope, Send

from sightline.api.conditional import negotiated
from sightline.api.erased import ErasedFrames
from sightline.api.errors import HANDLERS
from sightline.api.examples import Examples, examples
from sightline.api.live import Live, Message
from sightline.api.monitoring import counted, healthz, metrics, readyz
from sightline.api.parameters import check_parameters
from sightline.api.pictures import Frames, FramesController
from sightline.api.policy import HEADERS, answers_to
from sightline.api.searches import make_query, search, search_image
from sightline.api.services import Services
from sightline.api.static import page


class Application:
    """The ASGI application. Call `live.close()` before the server waits for open connections to end."""

    def __init__(self, routes: Litestar, live: Live) -> None:
        self.routes, self.live = routes, live
        self._app: ASGIApp = negotiated(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def create_app(services: Services) -> Application:
    settings = services.settings
    live = Live(
        services.transport,
        settings.poll_seconds,
        settings.skip_states,
        settings.tenant,
        reads_raw=settings.reads_raw,
    )
    erased = ErasedFrames(services.transport)
    frames, found_examples = Frames(services, live, erased), Examples(services.searcher, erased)
    routes = Litestar(
        route_handlers=[
            events,
            status,
            metrics,
            readyz,
            healthz,
            search,
            search_image,
            examples,
            FramesController,
            page,
        ],
        middleware=[counted(services.registry)],
        dependencies={
            "services": Provide(lambda: services, sync_to_thread=False),
            "erased": Provide(lambda: erased, sync_to_thread=False),
            "live": Provide(lambda: live, sync_to_thread=False),
            "frames": Provide(lambda: frames, sync_to_thread=False),
            "found_examples": Provide(lambda: found_examples, sync_to_thread=False),
            "make_query": Provide(make_query, sync_to_thread=False),
        },
        exception_handlers=HANDLERS,
        before_request=_checks(settings.allowed_hosts),
        lifespan=[_running(live)],
        openapi_config=None,
        logging_config=None,  # the process' own, which Litestar would replace
        response_headers=HEADERS,
    )
    return Application(routes, live)


def _checks(hosts: tuple[str, ...]) -> Callable[[Request[Any, Any, Any]], None]:
    check_host = answers_to(hosts)

    def check(request: Request[Any, Any, Any]) -> None:
        check_host(request)
        check_parameters(request)

    return check


@get("/api/events")
async def events(live: NamedDependency[Live]) -> ServerSentEvent:
    return ServerSentEvent(_sent(live.listen()), headers={"cache-control": "no-store"})


@get("/api/status")
async def status(services: NamedDependency[Services], live: NamedDependency[Live]) -> dict[str, Any]:
    settings = services.settings
    return {
        "model_set": settings.model_set,
        "tenant": settings.tenant,
        "is_local": settings.is_local,
        "warnings": [] if services.health is None else services.health.warnings,
        **live.status(),
    }


async def _sent(messages: AsyncIterator[Message]) -> AsyncIterator[ServerSentEventMessage]:
    async for message in messages:
        yield ServerSentEventMessage(data=message.content, event=message.name, retry=2000)


def _running(live: Live) -> Callable[[Litestar], contextlib.AbstractAsyncContextManager[None]]:
    @contextlib.asynccontextmanager
    async def running(_: Litestar) -> AsyncIterator[None]:
        task = asyncio.create_task(live.run(), name="live")
        try:
            yield
        finally:
            live.close()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    return running
