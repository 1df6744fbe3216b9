"""`sightline dead`: look at what could not be processed, send it again, or let it go."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from search.query import BadQuery, parse_time
from sightline.config import Config
from sightline.terminal.options import UsageError, configured, out
from sightline.wiring.parts import opened_blobs, opened_transport
from streams.lifecycle.dead_letters import DeadLetters, LetterFilter, OpenLetter

app = typer.Typer(no_args_is_help=True, help="Dead letters: what could not be processed, why, and what to do about it.")

Frames = Annotated[list[str] | None, typer.Argument(help="Frame ids; none chooses by the filters.")]
Reason = Annotated[str, typer.Option(help="Only this reason, e.g. unreadable_image.")]
Stage = Annotated[str, typer.Option(help="Only letters of this stage.")]
Since = Annotated[str, typer.Option(help="Died at or after: 2h, 3d or a date.")]
Until = Annotated[str, typer.Option(help="Died before: 2h, 3d or a date.")]
Every = Annotated[bool, typer.Option("--all", help="Really all, where nothing else is chosen.")]


def _chosen(frames: list[str] | None, reason: str, stage: str, since: str, until: str) -> LetterFilter:
    return LetterFilter(tuple(frames or ()), reason, stage, _time(since), _time(until))


def _time(text: str) -> datetime | None:
    try:
        return parse_time(text, datetime.now(UTC)) if text else None
    except BadQuery as error:
        raise UsageError(str(error)) from None


def _careful(chosen: LetterFilter, every: bool) -> LetterFilter:  # noqa: FBT001 - a flag as typed
    if chosen == LetterFilter() and not every:
        raise UsageError("name frames, or choose by --reason, --stage, --since, --until; --all means all of them")
    return chosen


@app.command("list")
@configured
async def list_(config: Config, reason: Reason = "", stage: Stage = "", since: Since = "", until: Until = "") -> None:
    """List dead letters, oldest first."""
    async with opened_transport(config) as transport:
        letters = await DeadLetters(transport).choose(_chosen(None, reason, stage, since, until))
    if not letters:
        out.print("no dead letters")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("died", "frame", "feed", "stage", "reason"):
        table.add_column(name, style="dim" if name in ("died", "frame") else "", no_wrap=name == "frame")
    for one in letters:
        letter = one.letter
        table.add_row(f"{letter.died:%Y-%m-%d %H:%M:%S}", letter.id, letter.feed, letter.stage, letter.reason)
    out.print(table)
    out.print(f"{len(letters)} dead; `sightline dead show FRAME` tells why, `dead replay` sends them again")


@app.command()
@configured
async def show(config: Config, frame: Annotated[str, typer.Argument(help="The frame's id.")]) -> None:
    """Tell why one frame is dead and where it came from."""
    async with opened_transport(config) as transport:
        letters = await DeadLetters(transport).choose(LetterFilter(frames=(frame,)))
    if not letters:
        raise UsageError(f"no dead letter for frame {frame}; `sightline dead list` names them")
    _tell(letters[0])


def _tell(one: OpenLetter) -> None:
    letter = one.letter
    out.print(f"[bold]{letter.id}[/]  {letter.tenant}/{letter.feed}")
    out.print(f"died     {letter.died:%Y-%m-%d %H:%M:%S} UTC in stage {letter.stage}")
    out.print(f"reason   [red]{letter.reason}[/]: {escape(letter.message)}", markup=True)
    out.print(f"came on  {letter.topic}, partition {letter.partition}, offset {letter.offset}")
    if letter.uri:
        out.print(f"original {letter.uri}")


@app.command()
@configured
async def replay(
    config: Config,
    frames: Frames = None,
    reason: Reason = "",
    stage: Stage = "",
    since: Since = "",
    until: Until = "",
    every: Every = False,  # noqa: FBT002 - a flag as typed
) -> None:
    """Publish the original records again, once the cause is fixed."""
    chosen = _careful(_chosen(frames, reason, stage, since, until), every)
    async with opened_transport(config) as transport, opened_blobs(config) as blobs:
        letters = DeadLetters(transport)
        found = await letters.choose(chosen)
        sent = await letters.replay(found, blobs)
    out.print(f"replayed {sent} of {len(found)}")


@app.command()
@configured
async def drop(
    config: Config,
    frames: Frames = None,
    reason: Reason = "",
    stage: Stage = "",
    since: Since = "",
    until: Until = "",
    every: Every = False,  # noqa: FBT002 - a flag as typed
) -> None:
    """Take letters off the list for good."""
    chosen = _careful(_chosen(frames, reason, stage, since, until), every)
    async with opened_transport(config) as transport:
        letters = DeadLetters(transport)
        dropped = await letters.drop(await letters.choose(chosen))
    out.print(f"dropped {dropped}")
