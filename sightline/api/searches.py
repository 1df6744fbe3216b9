"""`/api/search`: by text, by a picture that is in the index, and by a picture in the request's body."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, TypeAlias

from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.params import FromQuery, QueryParameter

from schemas.pictures import FORMATS
from search.query import BadQuery, Query, parse, parse_filters
from search.uploads import MAX_UPLOAD_BYTES
from sightline.api.cards import result_card
from sightline.api.services import Services

Texts = FromQuery[list[str] | None]
Text = FromQuery[str]
Without = Annotated[list[str] | None, QueryParameter(name="not")]
MakeQuery: TypeAlias = Callable[..., Query]
"""`parse` with the parameters that both routes have; `like` and `image` are added."""


def make_query(
    services: NamedDependency[Services],
    q: Text = "",
    feed: Texts = None,
    label: Texts = None,
    since: Text = "",
    until: Text = "",
    without: Without = None,
    limit: FromQuery[int] = 0,
) -> MakeQuery:
    """`feed`, `label` and `not` may be repeated; times are ISO 8601 or "2h". Raises BadQuery."""
    now = datetime.now(UTC)
    return partial(
        parse,
        q,
        now=now,
        without=[text for text in without or () if text.strip()],
        filters=parse_filters(feed or (), label or (), since, until, now),
        limit=limit or services.settings.limit,
    )


@get("/api/search")
async def search(
    services: NamedDependency[Services], make_query: NamedDependency[MakeQuery], like: Text = ""
) -> dict[str, Any]:
    """`like` is the id of a frame in the index; the other parameters are those of `make_query`."""
    return await _search(services, make_query(like=like))


@post("/api/search/image", status_code=200, request_max_body_size=MAX_UPLOAD_BYTES)
async def search_image(
    request: Request[Any, Any, Any], services: NamedDependency[Services], make_query: NamedDependency[MakeQuery]
) -> dict[str, Any]:
    """The body is the picture itself (see `schemas.pictures.FORMATS`); the parameters are those of `make_query`."""
    picture = await request.body()
    if not picture:
        raise BadQuery(f"the request has no body; send a picture ({FORMATS})")
    return await _search(services, make_query(image=picture))


async def _search(services: Services, query: Query) -> dict[str, Any]:
    return result_card(await services.searcher.search(query))
