"""Serves a ledger view as JSON over HTTP: `/feeds`, `/windows?feed=&label=&since=`, `/healthz`."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from aiohttp import web

from streams.analytics.ledger_view import LedgerView, to_json


@asynccontextmanager
async def serve_view(view: LedgerView, host: str, port: int) -> AsyncIterator[str]:
    """Listen while the context is open; gives the URL. Raises OSError if the port is in use."""
    runner = web.AppRunner(_application(view), access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield "http://{}:{}".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


def _application(view: LedgerView) -> web.Application:
    async def feeds(_: web.Request) -> web.Response:
        return _json(view.feeds(time.time()))

    async def windows(request: web.Request) -> web.Response:
        query = request.query
        try:
            since = datetime.fromisoformat(query["since"]).timestamp() if "since" in query else 0.0
        except ValueError:
            return web.Response(status=400, text="since: write a time such as 2026-11-21T08:00:00Z\n")
        return _json(view.windows(query.get("feed", ""), query.get("label", ""), since))

    async def alive(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    application = web.Application()
    application.add_routes([web.get("/feeds", feeds), web.get("/windows", windows), web.get("/healthz", alive)])
    return application


def _json(value: object) -> web.Response:
    return web.Response(body=to_json(value), content_type="application/json")
