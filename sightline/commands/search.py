"""`sightline search`: by words with "but no …", by picture, by filter."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from search.query import BadQuery, Filters, Query, parse, parse_time
from search.results import Contents, Found, SearchResult
from sightline.config import Config
from sightline.options import UsageError, configured, out
from sightline.searching import load_searcher
from sightline.wiring import opened_index
from stores.errors import Missing

Words = Annotated[str, typer.Argument(help='For example "a red circle, but no square"; may be left out with --image.')]
Image = Annotated[Path | None, typer.Option("--image", "-i", help="Look for pictures like this one.")]
Feed = Annotated[list[str] | None, typer.Option(help="Only this feed; may be repeated.")]
Label = Annotated[list[str] | None, typer.Option(help="Only pictures with this detected label; may be repeated.")]
Since = Annotated[str, typer.Option(help="Captured at or after: 2h, 3d, or a date.")]
Until = Annotated[str, typer.Option(help="Captured before: 2h, 3d, or a date.")]
Without = Annotated[list[str] | None, typer.Option("--not", help='Leave out, e.g. --not "red square".')]
Limit = Annotated[int | None, typer.Option(help="At most so many pictures.")]


@configured
async def search(
    config: Config,
    words: Words = "",
    image: Image = None,
    feed: Feed = None,
    label: Label = None,
    since: Since = "",
    until: Until = "",
    without: Without = None,
    limit: Limit = None,
) -> None:
    """Find pictures. Works while workers run and when nothing runs; a score is the probability of a match."""
    try:
        now = datetime.now(UTC)
        times = [parse_time(text, now) if text else None for text in (since, until)]
        filters = Filters(tuple(feed or ()), tuple(label or ()), times[0], times[1])
        picture = image.read_bytes() if image else None
        query = parse(
            words, now=now, without=without or (), image=picture, filters=filters, limit=limit or config.search.limit
        )
    except (BadQuery, OSError) as error:
        raise UsageError(str(error)) from None
    show(await run(config, query), config)


async def run(config: Config, query: Query) -> SearchResult:
    """Raises UsageError where nothing was ever indexed."""
    async with opened_index(config) as index:
        searcher = await asyncio.to_thread(load_searcher, config, index)
        try:
            return await searcher.search(query)
        except Missing:
            raise UsageError("nothing is indexed yet: `sightline ingest PATH`, then `sightline work`") from None
        finally:
            searcher.close()


def show(result: SearchResult, config: Config) -> None:
    if result.unknown_words:
        out.print(f"[yellow]the {config.models} models do not know: {', '.join(result.unknown_words)}[/]", markup=True)
    if result.negatives:
        out.print(f"[dim]without: {', '.join(result.negatives)}[/]", markup=True)
    if result.nothing_matches:
        _tell_nothing(result)
    elif not result.hits:
        out.print("no picture fits the filters")
    else:
        out.print(_table(result.hits))
        if result.text and not result.calibrated:
            out.print("[yellow]uncalibrated: `sightline calibrate` makes scores probabilities[/]", markup=True)


def _table(hits: tuple[Found, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("match", "caption", "feed", "time", "frame"):
        table.add_column(name, justify="right" if name == "match" else "left", no_wrap=name in ("frame", "time"))
    for hit in hits:
        match = f"{hit.score:.3f}" if hit.probability is None else f"{hit.probability:.0%}"
        payload = hit.payload
        time = str(payload.get("time") or "")[:19].replace("T", " ")
        table.add_row(match, payload.get("caption") or ", ".join(payload.get("labels", ())), payload["feed"], time, hit.id)
    return table


def _tell_nothing(result: SearchResult) -> None:
    best = "" if result.best is None else f" (the closest of all is a match with {result.best:.0%})"
    out.print(f"[bold]nothing matches[/]{best}", markup=True)
    if result.contents:
        out.print(f"[dim]there are {contained(result.contents)}[/]", markup=True)


def contained(contents: Contents) -> str:
    """What an index holds, in a line."""
    phrases = ", ".join(f"{name} ({count})" for name, count in list(contents.phrases.items())[:8])
    return f"{contents.pictures} pictures" + (f", among them {phrases}" if phrases else "")
