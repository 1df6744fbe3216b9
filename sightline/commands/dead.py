"""`sightline dead`: list what could not be processed, show why, replay it, or drop it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Annotated

import typer

from schemas.events import DeadLetter
from schemas.topics import DEAD
from search.query import BadQuery, parse_time, parse_until
from sightline.config import Config
from sightline.terminal.console import quoted
from sightline.terminal.frame_ids import check_frame_ids
from sightline.terminal.options import UsageError, configured, err, out, print_lines
from sightline.terminal.render import counted, local_time, new_table
from sightline.wiring.existing_data import existing_transport
from sightline.wiring.lost_parts import check_parts
from sightline.wiring.parts import opened_blobs
from streams.lifecycle.dead_letters import DeadLetters, LetterFilter, OpenLetter
from streams.plan import Plan

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
        selected = self.letters(zone, check_frame_ids(frames or ()))
        if selected == LetterFilter() and not every:
            raise UsageError("name frames, or select by --reason, --stage, --since, --until; --all selects all")
        return selected


@app.command("list")
@configured
async def list_(config: Config, selection: Selection) -> None:
    """List dead letters, oldest first."""
    selected = selection.letters(config.zone)
    async with existing_transport(config) as transport:
        print_lines(await check_parts(config, transport))
        dead_letters = DeadLetters(transport)
        letters = await dead_letters.choose(selected)
    if dead_letters.unreadable:
        records = counted(dead_letters.unreadable, "record")
        err.print(f"{records} of {DEAD} cannot be read: of another producer, or of a newer Sightline")
    if not letters:
        out.print("no dead letters")
        return
    table = new_table(("died", "frame", "feed", "stage", "reason", "from"))
    for entry in letters:
        letter = entry.letter
        table.add_row(local_time(letter.died, config.zone), *map(quoted, _row(letter)))
    out.print(table)
    count = counted(len(letters), "dead letter")
    out.print(f"{count}. `sightline dead show FRAME` says why; `sightline dead replay` sends them again.")


def _row(letter: DeadLetter) -> tuple[str, ...]:
    return letter.id, letter.feed, letter.stage, letter.reason, origin_of(letter)


def origin_of(letter: DeadLetter) -> str:
    """Path or URL; where it is unknown, the place of the record."""
    return letter.origin or f"{letter.topic}, partition {letter.partition}, offset {letter.offset}"


@app.command()
@configured
async def show(config: Config, frame: Annotated[str, typer.Argument(help="The frame's id.")]) -> None:
    """Show why a frame is dead, and where its record came from."""
    (frame,) = check_frame_ids([frame])
    async with existing_transport(config) as transport:
        letters = await DeadLetters(transport).choose(LetterFilter(frames=(frame,)))
    if not letters:
        raise UsageError(f"no dead letter of frame {frame}; `sightline dead list` lists those there are")
    _print(letters[0], config.zone)


def _print(entry: OpenLetter, zone: tzinfo | None) -> None:
    letter = entry.letter
    out.print(f"[bold]{quoted(letter.id)}[/]  {quoted(letter.tenant)}/{quoted(letter.feed)}", markup=True)
    if letter.origin:
        out.print(f"from     {quoted(letter.origin)}", soft_wrap=True)
    out.print(f"died     {local_time(letter.died, zone)} in stage {quoted(letter.stage)}")
    out.print(f"reason   [red]{quoted(letter.reason)}[/]: {quoted(letter.message)}", markup=True)
    out.print(f"record   {quoted(letter.topic)}, partition {letter.partition}, offset {letter.offset}")
    if letter.uri:
        out.print(f"original {quoted(letter.uri)}", soft_wrap=True)


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
    async with existing_transport(config) as transport, opened_blobs(config) as blobs:
        letters = DeadLetters(transport)
        open_letters = await letters.choose(selected)
        replay = await letters.replay(open_letters, blobs, Plan(config.segments).topics())
    for entry, why in replay.skipped:
        err.print(f"[yellow]✗[/] {quoted(entry.letter.id)} ({quoted(origin_of(entry.letter))}): {quoted(why)}")
    skipped = f", {len(replay.skipped)} skipped; they stay dead" if replay.skipped else ""
    out.print(f"{replay.replayed} of {counted(len(open_letters), 'dead letter')} replayed{skipped}")
    if replay.skipped:
        raise typer.Exit(1)


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
    async with existing_transport(config) as transport:
        letters = DeadLetters(transport)
        dropped = await letters.drop(await letters.choose(selected))
    out.print(f"{counted(dropped, 'dead letter')} dropped")
