"""Serves counts as JSON over HTTP: `/feeds`, `/windows?feed=&label=&since=`; beside them the paths of the monitor."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime

from aiohttp import web

from streams.analytics.ledger_view import LedgerView, to_json
from streams.analytics.measured import Measured
from streams.readiness.monitor import routes, url_of

Answer = Callable[[web.Request], Awaitable[web.Response]]


class Counts:
    """What is served; `view` is set when counting begins."""

    def __init__(self, measured: Measured) -> None:
        self.measured = measured
        self.view: LedgerView | None = None


@asynccontextmanager
async def serve_counts(counts: Counts, listener: socket.socket) -> AsyncIterator[str]:
    """Serve on `listener`, a listening socket, and close it at the end. Gives the URL."""
    runner = web.AppRunner(_application(counts), access_log=None)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        yield url_of(listener)
    finally:
        await runner.cleanup()


def _application(counts: Counts) -> web.Application:
    def begun(answer: Callable[[LedgerView, web.Request], web.Response]) -> Answer:
        async def answered(request: web.Request) -> web.Response:
            if counts.view is None:
                return web.Response(status=503, text="\n".join(counts.measured.health.unready_reasons()) + "\n")
            return answer(counts.view, request)

        return answered

    application = web.Application()
    application.add_routes([web.get("/feeds", begun(_feeds)), web.get("/windows", begun(_windows))])
    application.add_routes(routes(counts.measured.health, counts.measured.metrics.registry))
    return application


def _feeds(view: LedgerView, _: web.Request) -> web.Response:
    return _json(view.feeds(time.time()))


def _windows(view: LedgerView, request: web.Request) -> web.Response:
    query = request.query
    try:
        since = _seconds(query["since"]) if "since" in query else 0.0
    except (ValueError, OverflowError):
        return web.Response(status=400, text="since: write a time such as 2026-11-21T08:00:00Z\n")
    return _json(view.windows(query.get("feed", ""), query.get("label", ""), since))


def _seconds(since: str) -> float:
    """Raises ValueError, OverflowError. In a URL, the `+` of an offset that is not encoded arrives as a space."""
    day, separator, time_of_day = since.strip().partition("T")
    return datetime.fromisoformat(f"{day}{separator}{time_of_day.replace(' ', '+')}").timestamp()


def _json(value: object) -> web.Response:
    return web.Response(body=to_json(value), content_type="application/json")
