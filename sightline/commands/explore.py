"""`sightline explore`: pictures like one's own, found by an image-search API, indexed and ranked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.markup import escape
from rich.table import Table

from search.models import Pixels
from search.results import Found
from sightline.commands.oneshot import captions_of, read_picture
from sightline.config import Config
from sightline.exploration import Exploration, known_apis, make_search, queries
from sightline.ingest_runner import told
from sightline.terminal.contact_sheet import contact_sheet
from sightline.terminal.options import UsageError, configured, err, out
from sightline.wiring.parts import Parts, opened
from streams.sources.image_search import ImageSearch, Result, Search

Picture = Annotated[Path, typer.Argument(help="A JPEG, PNG or WebP file.")]
Api = Annotated[str, typer.Option("--api", help="pixabay, or a name that the configuration describes in [apis.NAME].")]
Asked = Annotated[str, typer.Option("--query", "-q", help="Ask the API for this instead of the picture's caption.")]
Pages = Annotated[int | None, typer.Option(min=1, help="Pages of results to fetch.")]
PerPage = Annotated[int | None, typer.Option(min=1, help="Pictures on a page.")]
Limit = Annotated[int, typer.Option(min=1, help="Show so many.")]
Sheet = Annotated[Path, typer.Option(help="Where the contact sheet goes, your picture first.")]


@configured
async def explore(
    config: Config,
    picture: Picture,
    api: Api = "pixabay",
    query: Asked = "",
    pages: Pages = None,
    per_page: PerPage = None,
    limit: Limit = 12,
    sheet: Sheet = Path("sightline-explore.jpg"),
) -> None:
    """Caption a picture, fetch pictures that an API finds for the caption, index them, rank them by likeness.

    The key stands in the environment (PIXABAY_KEY). Pictures are kept as those of any source, in a feed named after
    API and query; asked again within a day, the API is not troubled.
    """
    search = make_search(config, api, _described(config, api, pages, per_page))
    search.key()  # a key that is missing is told before models are loaded
    pixels, content = read_picture(picture), picture.read_bytes()
    asked = [query] if query else queries(await _caption(config, picture, pixels))
    async with opened(config) as parts:
        found, results = await _found(parts, search, asked)
        for line in told(found.feed, await found.ingest(results, err)):
            err.print(line, markup=True)
        await found.work(err)
        hits = await found.ranked(content, limit)
        _tell(hits, found)
        await _write_sheet(parts, content, hits, sheet)
    if search.api.terms:
        out.print(f"[dim]{escape(search.api.terms)}[/]", markup=True)


def _described(config: Config, name: str, pages: int | None, per_page: int | None) -> ImageSearch:
    known = known_apis(config)
    if name not in known:
        raise UsageError(f"--api {name}: known are {', '.join(sorted(known))}; describe others in [apis.{name}]")
    asked = {key: value for key, value in (("pages", pages), ("per_page", per_page)) if value is not None}
    return msgspec.structs.replace(known[name], **asked)


async def _caption(config: Config, picture: Path, pixels: Pixels) -> str:
    err.print("loading models")
    (caption,) = await asyncio.to_thread(captions_of, config, [pixels])
    out.print(f"[bold]{escape(picture.name)}[/]: {escape(caption)}", markup=True)
    return caption


async def _found(parts: Parts, search: Search, asked: Sequence[str]) -> tuple[Exploration, list[Result]]:
    """The first of the queries for which the API knows a picture."""
    for query in asked:
        results = [result async for result in search.results(query)]
        out.print(f"{search.name} finds {len(results)} pictures for [bold]{escape(query)}[/]", markup=True)
        if results:
            return Exploration(parts, search, query), results
    raise UsageError(f"{search.name} finds nothing; say in other words what to look for, with --query")


def _tell(hits: Sequence[Found], found: Exploration) -> None:
    if not hits:
        raise UsageError("none of the pictures could be indexed; `sightline dead list` says why")
    table = Table(box=None, pad_edge=False)
    for name in ("like", "what", "by", "page"):
        table.add_column(name, justify="right" if name == "like" else "left", overflow="fold")
    for hit in hits:
        of = found.of.get(hit.id, Result(""))
        said = of.title or hit.payload.get("caption") or ""
        table.add_row(_likeness(hit), escape(said), escape(of.credit), escape(of.link or of.url))
    out.print(table)


def _likeness(hit: Found) -> str:
    return f"{hit.score:+.3f}" if hit.probability is None else f"{hit.probability:.0%} {hit.score:+.3f}"


async def _write_sheet(parts: Parts, picture: bytes, hits: Sequence[Found], sheet: Path) -> None:
    tenant = parts.config.tenant
    pictures = [picture, *[await parts.blobs.get(tenant, hit.payload["uri"]) for hit in hits]]
    lines = ["this picture", *[_likeness(hit) for hit in hits]]
    sheet.write_bytes(await asyncio.to_thread(contact_sheet, pictures, lines))
    out.print(f"the pictures are on [bold]{escape(str(sheet))}[/]", markup=True)
