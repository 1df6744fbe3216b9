"""`sightline dead`: list what could not be processed, show why, replay it, or drop it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Annotated

import typer
from rich.markup import escape

from search.query import BadQuery, parse_time, parse_until
from sightline.config import Config
from sightline.terminal.options import UsageError, configured, out
from sightline.terminal.render import counted, local_time, new_table
from sightline.wiring.parts import opened_blobs, opened_transport
from streams.lifecycle.dead_letters import DeadLetters, LetterFilter, OpenLetter

app = typer.Typer(no_args_is_help=True, help="Dead letters: what could not be processed, why, and what to do about it.")

Frames = Annotated[list[str] | None, typer.Argument(help="Frame ids. Without ids, the options select.")]
Every = Annotated[bool, typer.Option("--all", help="Select all dead letters.")]


@dataclass(frozen=True, slots=True)
class Selection:
    """Options that select dead letters."""

    reason: Annotated[str, typer.Option(help="Only letters with this reason, e.g. unreadable_image.")] = ""
    stage: Annotated[str, typer.Option(help="Only letters of this stage.")] = ""
    since: Annotated[
        str, typer.Option(help="Only frames that died at or after this time: 2h, 3d, or a date, from its start.")
    ] = ""
    until: Annotated[
        str, typer.Option(help="Only frames that died before this time: 2h, 3d, or a date, to its end.")
    ] = ""

    def letters(self, zone: tzinfo | None, frames: list[str] | None = None) -> LetterFilter:
        """Dates are days in `zone` (None: the machine's). Raises UsageError for a time that cannot be read."""
        now = datetime.now(UTC)
        try:
            since = parse_time(self.since, now, zone) if self.since else None
            until = parse_until(self.until, now, zone) if self.until else None
        except BadQuery as error:
            raise UsageError(str(error)) from None
        return LetterFilter(tuple(frames or ()), self.reason, self.stage, since, until)

    def deliberate(
        self,
        zone: tzinfo | None,
        frames: list[str] | None,
        every: bool,  # noqa: FBT001 - a flag as typed
    ) -> LetterFilter:
        """As `letters`, but all letters only when that was asked for. Raises UsageError."""
        selected = self.letters(zone, frames)
        if selected == LetterFilter() and not every:
            raise UsageError("name frames, or select by --reason, --stage, --since, --until; --all selects all")
        return selected


@app.command("list")
@configured
async def list_(config: Config, selection: Selection) -> None:
    """List dead letters, oldest first."""
    async with opened_transport(config) as transport:
        letters = await DeadLetters(transport).choose(selection.letters(config.zone))
    if not letters:
        out.print("no dead letters")
        return
    table = new_table(("died", "frame", "feed", "stage", "reason"))
    for entry in letters:
        letter = entry.letter
        table.add_row(local_time(letter.died, config.zone), letter.id, letter.feed, letter.stage, letter.reason)
    out.print(table)
    count = counted(len(letters), "dead letter")
    out.print(f"{count}. `sightline dead show FRAME` says why; `sightline dead replay` sends them again.")


@app.command()
@configured
async def show(config: Config, frame: Annotated[str, typer.Argument(help="The frame's id.")]) -> None:
    """Show why a frame is dead, and where its record came from."""
    async with opened_transport(config) as transport:
        letters = await DeadLetters(transport).choose(LetterFilter(frames=(frame,)))
    if not letters:
        raise UsageError(f"no dead letter of frame {frame}; `sightline dead list` lists those there are")
    _print(letters[0], config.zone)


def _print(entry: OpenLetter, zone: tzinfo | None) -> None:
    letter = entry.letter
    out.print(f"[bold]{letter.id}[/]  {letter.tenant}/{letter.feed}")
    out.print(f"died     {local_time(letter.died, zone)} in stage {letter.stage}")
    out.print(f"reason   [red]{letter.reason}[/]: {escape(letter.message)}", markup=True)
    out.print(f"record   {letter.topic}, partition {letter.partition}, offset {letter.offset}")
    if letter.uri:
        out.print(f"original {letter.uri}")


@app.command()
@configured
async def replay(
    config: Config,
    selection: Selection,
    frames: Frames = None,
    every: Every = False,  # noqa: FBT002 - a flag as typed
) -> None:
    """Publish the original records again, once the cause is fixed."""
    selected = selection.deliberate(config.zone, frames, every)
    async with opened_transport(config) as transport, opened_blobs(config) as blobs:
        letters = DeadLetters(transport)
        open_letters = await letters.choose(selected)
        replayed = await letters.replay(open_letters, blobs)
    out.print(f"{replayed} of {counted(len(open_letters), 'dead letter')} replayed")


@app.command()
@configured
async def drop(
    config: Config,
    selection: Selection,
    frames: Frames = None,
    every: Every = False,  # noqa: FBT002 - a flag as typed
) -> None:
    """Remove dead letters from the list without replaying them."""
    selected = selection.deliberate(config.zone, frames, every)
    async with opened_transport(config) as transport:
        letters = DeadLetters(transport)
        dropped = await letters.drop(await letters.choose(selected))
    out.print(f"{counted(dropped, 'dead letter')} dropped")
