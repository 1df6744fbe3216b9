"""`sightline search`: by words with "but no …", by picture, by filter."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from search.query import BadQuery, Query, parse, parse_filters
from search.results import SearchResult
from sightline.config import Config
from sightline.terminal.options import UsageError, configured
from sightline.terminal.pictures import read_picture
from sightline.terminal.render import print_result
from sightline.wiring.parts import opened_blobs, opened_index
from sightline.wiring.searcher import opened_searcher
from stores.errors import Missing

Words = Annotated[
    str, typer.Argument(help='What to look for, e.g. "a red circle, but no square"; optional with --image or a filter.')
]
Image = Annotated[Path | None, typer.Option("--image", "-i", help="Search for pictures similar to this one.")]
Feed = Annotated[list[str] | None, typer.Option(help="Only pictures of this feed. Repeatable.")]
Label = Annotated[list[str] | None, typer.Option(help="Only pictures with this detected label. Repeatable.")]
Since = Annotated[str, typer.Option(help="Only pictures captured at or after this time: 2h, 3d or a date.")]
Until = Annotated[str, typer.Option(help="Only pictures captured before this time: 2h, 3d or a date.")]
Without = Annotated[
    list[str] | None, typer.Option("--not", help='Exclude pictures that show this, e.g. "red square". Repeatable.')
]
Limit = Annotated[int | None, typer.Option(help="Maximum number of pictures.")]


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
    """Find pictures by words, by a similar picture, or by filters alone.

    Each line shows the probability of a match. Workers may run at the same time; none has to.
    """
    if image:
        read_picture(image)  # a file that is no picture is reported before models are loaded
    now = datetime.now(UTC)
    try:
        query = parse(
            words,
            now=now,
            without=without or (),
            image=image.read_bytes() if image else None,
            filters=parse_filters(feed or (), label or (), since, until, now),
            limit=limit or config.search.limit,
        )
    except (BadQuery, OSError) as error:
        raise UsageError(str(error)) from None
    print_result(await _search(config, query), config)


async def _search(config: Config, query: Query) -> SearchResult:
    """Raises UsageError where nothing was ever indexed."""
    async with (
        opened_index(config) as index,
        opened_blobs(config) as blobs,
        opened_searcher(config, index, blobs) as searcher,
    ):
        try:
            return await searcher.search(query)
        except Missing:
            raise UsageError("nothing is indexed yet: run `sightline ingest PATH`, then `sightline work`") from None
