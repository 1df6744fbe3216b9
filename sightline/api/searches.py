"""`/api/search`: by text, by a picture that is in the index, and by a picture in the request's body."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, TypeAlias

from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.params import FromQuery, QueryParameter

from schemas.pictures import FORMATS
from search.errors import BadQuery, quoted
from search.query import Filters, Query, parse, parse_filters
from search.results import Contents, SearchResult, UnknownName
from search.uploads import MAX_UPLOAD_BYTES
from sightline.api.cards import result_card
from sightline.api.erased import ErasedFrames
from sightline.api.parameters import PARAMETERS
from sightline.api.services import Services
from stores.errors import Missing

Texts = FromQuery[list[str] | None]
Text = FromQuery[str]
Without = Annotated[list[str] | None, QueryParameter(name="not")]
MakeQuery: TypeAlias = Callable[..., Query]
"""`parse` with the parameters that both routes have; `like` and `image` are added."""
_COMMON = ("q", "feed", "label", "since", "until", "not", "limit", "cursor", "fold")


def make_query(
    services: NamedDependency[Services],
    q: Text = "",
    feed: Texts = None,
    label: Texts = None,
    since: Text = "",
    until: Text = "",
    without: Without = None,
    limit: FromQuery[int | None] = None,
    cursor: Text = "",
    fold: FromQuery[bool] = False,  # noqa: FBT002 - a parameter of a URL
) -> MakeQuery:
    """`feed`, `label` and `not` may be repeated; times are ISO 8601 or "2h". Raises BadQuery."""
    now, zone = datetime.now(UTC), services.settings.zone
    return partial(
        parse,
        q,
        now=now,
        zone=zone,
        without=[text for text in without or () if text.strip()],
        filters=parse_filters(feed or (), label or (), since, until, now, zone),
        limit=services.settings.limit if limit is None else limit,
        cursor=cursor,
        fold=fold,
    )


@get("/api/search", opt={PARAMETERS: (*_COMMON, "like")})
async def search(
    services: NamedDependency[Services],
    erased: NamedDependency[ErasedFrames],
    make_query: NamedDependency[MakeQuery],
    like: Text = "",
) -> dict[str, Any]:
    """`like` is the id of a frame in the index; the other parameters are those of `make_query`."""
    if like:
        await erased.check(like)
    return await _search(services, erased, make_query(like=like))


@post("/api/search/image", status_code=200, request_max_body_size=MAX_UPLOAD_BYTES, opt={PARAMETERS: _COMMON})
async def search_image(
    request: Request[Any, Any, Any],
    services: NamedDependency[Services],
    erased: NamedDependency[ErasedFrames],
    make_query: NamedDependency[MakeQuery],
) -> dict[str, Any]:
    """The body is the picture itself (see `schemas.pictures.FORMATS`); the parameters are those of `make_query`."""
    picture = await request.body()
    if not picture:
        raise BadQuery(f"the request has no body; send a picture ({FORMATS})")
    return await _search(services, erased, make_query(image=picture))


async def _search(services: Services, erased: ErasedFrames, query: Query) -> dict[str, Any]:
    """Before a worker has made the collection, the index is empty.

    Points of erased frames are left out: until a worker starts, an older copy of the index has them.
    """
    try:
        result = await services.searcher.search(query, await erased.known())
    except Missing:
        if query.like:
            raise NotFoundException(f"no picture {query.like} in the index") from None
        result = _nothing_indexed(query)
    if unknown := _wanted_in_vain(query.filters, result.unknown_names):
        raise BadQuery(_unknown(unknown))
    return result_card(result)


def _nothing_indexed(query: Query) -> SearchResult:
    empty = Contents(pictures=0, feeds={}, labels={}, phrases={})
    return SearchResult(text=query.text, nothing_matches=True, total_is_exact=True, contents=empty)


def _wanted_in_vain(filters: Filters, unknown: Sequence[UnknownName]) -> UnknownName | None:
    """An unknown name of a filter of which no name is known."""
    names = {(entry.kind, entry.name) for entry in unknown}
    for kind, wanted in (("feed", filters.feeds), ("label", filters.labels)):
        if wanted and all((kind, name) in names for name in wanted):
            return next(entry for entry in unknown if (entry.kind, entry.name) == (kind, wanted[0]))
    return None


def _unknown(entry: UnknownName) -> str:
    nearest = f"; nearest: {', '.join(entry.nearest)}" if entry.nearest else ""
    return f"there is no {entry.kind} {quoted(entry.name)} in the index{nearest}"
