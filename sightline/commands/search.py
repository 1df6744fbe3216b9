"""`sightline search`: by words with "but no …", by picture, by filter."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from search.query import BadQuery, Query, parse, parse_filters
from search.results import SearchResult
from sightline.config import Config
from sightline.terminal.options import UsageError, configured, print_lines
from sightline.terminal.pictures import read_picture
from sightline.terminal.render import print_result
from sightline.terminal.signals import doing
from sightline.wiring.erased import erased_frames
from sightline.wiring.existing_data import check_index_folder, check_indexed
from sightline.wiring.lost_log import missing_log
from sightline.wiring.lost_parts import check_index_is_not_lost
from sightline.wiring.parts import opened_blobs, opened_index
from sightline.wiring.searcher import opened_searcher
from stores.errors import Missing

Words = Annotated[
    str, typer.Argument(help='What to look for, e.g. "a red circle, but no square"; optional with --image or a filter.')
]
Image = Annotated[Path | None, typer.Option("--image", "-i", help="Search for pictures similar to this one.")]
Feed = Annotated[list[str] | None, typer.Option(help="Only pictures of this feed. Repeatable, or a list: a,b.")]
Label = Annotated[
    list[str] | None, typer.Option(help="Only pictures with this detected label. Repeatable, or a list: a,b.")
]
Since = Annotated[
    str, typer.Option(help="Only pictures captured at or after this time: 2h, 3d, or a date, from its start.")
]
Until = Annotated[str, typer.Option(help="Only pictures captured before this time: 2h, 3d, or a date, to its end.")]
Without = Annotated[
    list[str] | None, typer.Option("--not", help='Exclude pictures that show this, e.g. "red square". Repeatable.')
]
Limit = Annotated[int | None, typer.Option(min=1, help="Maximum number of pictures.")]
Cursor = Annotated[str, typer.Option(help="Show the pictures that follow an earlier result, which ended with this.")]


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
    cursor: Cursor = "",
) -> None:
    """Find pictures by words, by a similar picture, or by filters alone.

    Each line shows the probability of a match; filters alone show the newest pictures. A date is a whole day in the
    zone that the setting `timezone` names. Workers may run at the same time; none has to.
    """
    if image:
        read_picture(image)  # a file that is no picture is reported before models are loaded
    now = datetime.now(UTC)
    try:
        query = parse(
            words,
            now=now,
            zone=config.zone,
            without=without or (),
            image=image.read_bytes() if image else None,
            filters=parse_filters(feed or (), label or (), since, until, now, config.zone),
            limit=limit or config.search.limit,
            cursor=cursor,
        )
    except (BadQuery, OSError) as error:
        raise UsageError(str(error)) from None
    print_result(await _search(config, query), config)


async def _search(config: Config, query: Query) -> SearchResult:
    """Raises Missing where the configured models have indexed nothing; that is found before they are loaded."""
    print_lines(lost := missing_log(config))
    async with opened_index(config) as index, opened_blobs(config) as blobs, AsyncExitStack() as stack:
        try:
            check_index_folder(config)
            await check_indexed(config, index)
        except Missing:
            await check_index_is_not_lost(config, index)
            raise
        erased = set() if lost else await erased_frames(config)
        with doing("loading models"):
            searcher = await stack.enter_async_context(opened_searcher(config, index, blobs))
        with doing("searching"):
            return await searcher.search(query, erased)
