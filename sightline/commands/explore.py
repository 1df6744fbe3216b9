"""`sightline explore`: pictures similar to yours, found by an image-search API, indexed and ranked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from schemas.pictures import FORMATS
from search.models import Pixels
from search.results import SearchHit
from sightline.config import Config
from sightline.exploration import Exploration, api_queries, known_apis, make_search
from sightline.ingest_runner import summary_lines
from sightline.terminal.console import quoted
from sightline.terminal.contact_sheet import contact_sheet
from sightline.terminal.options import UsageError, configured, err, out
from sightline.terminal.outputs import check_output, write_output
from sightline.terminal.pictures import read_picture
from sightline.terminal.render import counted, new_table, out_of_domain_line
from sightline.wiring.lost_parts import check_parts
from sightline.wiring.models import caption_pictures
from sightline.wiring.parts import Parts, opened
from streams.sources.image_search import ImageSearch, ImageSearchClient, Result

PictureFile = Annotated[Path, typer.Argument(help=f"A picture: {FORMATS}.")]
Api = Annotated[str, typer.Option("--api", help="pixabay, or the NAME of an API described in [apis.NAME].")]
QueryText = Annotated[str, typer.Option("--query", "-q", help="Search the API for this instead of the caption.")]
Pages = Annotated[int | None, typer.Option(min=1, help="Number of result pages to fetch.")]
PerPage = Annotated[int | None, typer.Option(min=1, help="Pictures per page.")]
Limit = Annotated[int, typer.Option(min=1, help="Maximum number of pictures to show.")]
Sheet = Annotated[Path, typer.Option(help="JPEG file for the contact sheet, your picture first.")]


@configured
async def explore(
    config: Config,
    picture: PictureFile,
    api: Api = "pixabay",
    query: QueryText = "",
    pages: Pages = None,
    per_page: PerPage = None,
    limit: Limit = 12,
    sheet: Sheet = Path("sightline-explore.jpg"),
) -> None:
    """Caption a picture, fetch what an image-search API finds for the caption, index it, and rank it by similarity.

    The API's key comes from the environment (PIXABAY_KEY). The pictures are stored like those of any source, in a feed
    named after API and query. The API's answers are cached for a day.
    """
    search = make_search(config, api, _api(config, api, pages, per_page))
    search.key()  # a missing key is reported before models are loaded
    check_output(sheet)
    pixels, content = read_picture(picture), picture.read_bytes()
    queries = [query] if query else api_queries(await _caption(config, picture, pixels))
    async with opened(config) as parts:
        await check_parts(config, parts.transport, parts.index, needed=("index", "pictures"))
        exploration, results = await _first_with_results(parts, search, queries)
        for line in summary_lines(exploration.feed, await exploration.ingest(results, err)):
            err.print(line, markup=True)
        await exploration.work(err)
        hits = await exploration.ranked(content, limit)
        _print_hits(hits, exploration)
        await _write_sheet(parts, content, hits, sheet)
    if search.api.terms:
        out.print(f"[dim]{quoted(search.api.terms)}[/]", markup=True)


def _api(config: Config, name: str, pages: int | None, per_page: int | None) -> ImageSearch:
    known = known_apis(config)
    if name not in known:
        raise UsageError(f"--api {name}: use one of {', '.join(sorted(known))}, or describe it in [apis.{name}]")
    given = {key: value for key, value in (("pages", pages), ("per_page", per_page)) if value is not None}
    return msgspec.structs.replace(known[name], **given)


async def _caption(config: Config, picture: Path, pixels: Pixels) -> str:
    err.print("loading models")
    (caption,) = await asyncio.to_thread(caption_pictures, config, [pixels])
    if caption is None:
        raise UsageError(f"{picture.name}: {out_of_domain_line(1, config.models)}; or give words with --query")
    out.print(f"[bold]{quoted(picture.name)}[/]: {quoted(caption)}", markup=True)
    return caption


async def _first_with_results(
    parts: Parts, search: ImageSearchClient, queries: Sequence[str]
) -> tuple[Exploration, list[Result]]:
    """The first query for which the API knows a picture. Raises UsageError."""
    for query in queries:
        results = [result async for result in search.results(query)]
        found = counted(len(results), "picture")
        out.print(f"{quoted(search.name)} has {found} for [bold]{quoted(query)}[/]", markup=True)
        if results:
            return Exploration(parts, search, query), results
    raise UsageError(f"{search.name} has no picture for this; use other words with --query")


def _print_hits(hits: Sequence[SearchHit], exploration: Exploration) -> None:
    if not hits:
        raise UsageError("none of the pictures could be indexed; `sightline dead list` shows why")
    table = new_table(("similarity", "title", "by", "page"), right=("similarity",))
    for hit in hits:
        result = exploration.results.get(hit.id, Result(""))
        title = result.title or hit.payload.get("caption") or ""
        table.add_row(_similarity(hit), quoted(title), quoted(result.credit), quoted(result.link or result.url))
    out.print(table)


def _similarity(hit: SearchHit) -> str:
    return f"{hit.score:+.3f}" if hit.probability is None else f"{hit.probability:.0%} {hit.score:+.3f}"


async def _write_sheet(parts: Parts, picture: bytes, hits: Sequence[SearchHit], sheet: Path) -> None:
    tenant = parts.config.tenant
    pictures = [picture, *[await parts.blobs.get(tenant, hit.payload["uri"]) for hit in hits]]
    lines = ["your picture", *[_similarity(hit) for hit in hits]]
    write_output(sheet, await asyncio.to_thread(contact_sheet, pictures, lines))
    out.print(f"Contact sheet written to [bold]{quoted(str(sheet))}[/]", markup=True)
