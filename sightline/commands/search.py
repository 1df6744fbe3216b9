"""`sightline search`: by words with "but no …", by picture, by filter."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from search.query import BadQuery, Filters, Query, parse, parse_time
from search.results import SearchResult
from sightline.commands.oneshot import read_picture
from sightline.config import Config
from sightline.terminal.options import UsageError, configured
from sightline.terminal.render import tell
from sightline.wiring.parts import opened_blobs, opened_index
from sightline.wiring.searcher import load_searcher
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
    if image:
        read_picture(image)  # what is no picture is told before models are loaded
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
    tell(await run(config, query), config)


async def run(config: Config, query: Query) -> SearchResult:
    """Raises UsageError where nothing was ever indexed."""
    async with opened_index(config) as index, opened_blobs(config) as blobs:
        searcher = await asyncio.to_thread(load_searcher, config, index, blobs)
        try:
            return await searcher.search(query)
        except Missing:
            raise UsageError("nothing is indexed yet: `sightline ingest PATH`, then `sightline work`") from None
        finally:
            searcher.close()
