"""`/api/search`: by text, by a picture that is in the index, and by a picture handed in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.params import FromQuery, QueryParameter

from search.query import BadQuery, Filters, Query, parse, parse_time
from search.uploads import MAX_UPLOAD_BYTES
from sightline.api.cards import result_card
from sightline.api.services import Services

Texts = FromQuery[list[str] | None]
Text = FromQuery[str]
Without = Annotated[list[str] | None, QueryParameter(name="not")]


@get("/api/search")
async def search(
    services: NamedDependency[Services],
    q: Text = "",
    like: Text = "",
    feed: Texts = None,
    label: Texts = None,
    since: Text = "",
    until: Text = "",
    without: Without = None,
    limit: FromQuery[int] = 0,
) -> dict[str, Any]:
    """`feed`, `label` and `not` may be repeated; times are ISO 8601 or "2h"; `like` is a frame's id."""
    now = datetime.now(UTC)
    query = parse(
        q,
        now=now,
        like=like,
        without=[text for text in without or () if text.strip()],
        filters=_filters(feed, label, since, until, now),
        limit=limit or services.settings.limit,
    )
    return await _answer(services, query)


@post("/api/search/image", status_code=200, request_max_body_size=MAX_UPLOAD_BYTES)
async def search_image(
    request: Request[Any, Any, Any],
    services: NamedDependency[Services],
    q: Text = "",
    feed: Texts = None,
    label: Texts = None,
    since: Text = "",
    until: Text = "",
    without: Without = None,
    limit: FromQuery[int] = 0,
) -> dict[str, Any]:
    """The body is the picture itself (JPEG, PNG or WebP); parameters as for `search`."""
    now = datetime.now(UTC)
    picture = await request.body()
    if not picture:
        raise BadQuery("the request's body is to be a picture")
    query = parse(
        q,
        now=now,
        image=picture,
        without=[text for text in without or () if text.strip()],
        filters=_filters(feed, label, since, until, now),
        limit=limit or services.settings.limit,
    )
    return await _answer(services, query)


async def _answer(services: Services, query: Query) -> dict[str, Any]:
    return result_card(await services.searcher.search(query))


def _filters(feed: list[str] | None, label: list[str] | None, since: str, until: str, now: datetime) -> Filters:
    return Filters(
        feeds=tuple(name for name in feed or () if name),
        labels=tuple(name for name in label or () if name),
        since=parse_time(since, now) if since else None,
        until=parse_time(until, now) if until else None,
    )
