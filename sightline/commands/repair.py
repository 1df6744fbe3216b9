"""`sightline repair`: make again what is missing or damaged, from what is there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Annotated

import typer

from sightline.config import Config
from sightline.terminal.options import CommandError, configured, err, out
from sightline.terminal.progress import CountLine
from sightline.terminal.render import counted, new_table
from sightline.terminal.signals import doing
from sightline.wiring.build_worker import collections, worker_settings
from sightline.wiring.damaged_index import salvage_index
from sightline.wiring.damaged_log import SalvagedLog, finish_salvage, salvage_log
from sightline.wiring.examination import Examination, examine, frames_of_damaged
from sightline.wiring.existing_data import check_data_folder
from sightline.wiring.lost_log import found_pictures_folder, has_log_aside, missing_log, set_log_aside
from sightline.wiring.parts import Parts, opened
from sightline.wiring.thumbnails import thumbnail_maker
from streams.backends import Backends
from streams.clock import SystemClock
from streams.errors import DamagedLog
from streams.lifecycle.accepted_frames import feeds_of_accepted, taken_of_accepted
from streams.lifecycle.repair import Repair
from streams.lifecycle.repair_plan import Circumstances, RepairPlan, plan_repair

EXAMPLES = 3
MEANINGS = {
    "points_deleted": "points of frames that are dead, erased, or not embedded: deleted",
    "originals_from_the_log": "originals lost or damaged, and whole in their records: written again",
    "thumbnails": "thumbnails lost or damaged: made again from the originals",
    "frames_to_process": "frames without a point, an event or a record: put on the log for the workers",
    "frames_listed_as_accepted": "frames missing in the list of accepted ones: listed",
    "originals_to_ingest_again": "frames whose picture is only at its source: the next ingest of it writes them again",
    "hopeless": "frames that nothing here can make whole",
}
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
Deep = Annotated[bool, typer.Option("--deep", help="Read every picture and point, and repair the damaged ones too.")]


NewLog = Annotated[
    bool,
    typer.Option(
        "--new-log",
        help="Move a damaged embedded log aside unread, and make a new one from the index and the pictures. Dead "
        "letters, and frames that no worker has finished, are in the old one only.",
    ),
]


@configured
async def repair(
    config: Config,
    dry_run: DryRun = False,  # noqa: FBT002 - a flag as typed
    deep: Deep = False,  # noqa: FBT002 - a flag as typed
    new_log: NewLog = False,  # noqa: FBT002 - a flag as typed
) -> None:
    """Make points, records, thumbnails and originals again that are lost or damaged, as far as the rest tells them.

    Nothing else changes: erased frames stay erased, dead ones dead. Of a damaged embedded log it saves the records that
    can be read in a new one, and keeps the damaged file. It may be interrupted and run again; workers may
    run meanwhile. Afterwards `sightline work` processes what this puts on the log, and `sightline ingest` brings back
    the pictures that only their sources have. Exit status 1 means that something cannot be repaired here.
    """
    check_data_folder(config)
    if new_log and not dry_run:
        for path in await asyncio.to_thread(set_log_aside, config):
            err.print(f"! the log is now {path}: remove it once it is not needed", soft_wrap=True)
    elif not dry_run and await asyncio.to_thread(finish_salvage, config):
        err.print("! an earlier repair saved the records of the damaged log: they are in use now", soft_wrap=True)
    for line in missing_log(config):
        err.print(f"! {line.partition(';')[0]}; {'a new one would be' if dry_run else 'a new one is'} made")
    if dry_run and missing_log(config):
        return
    try:
        await _repair(config, dry_run=dry_run, deep=deep)
    except DamagedLog as error:
        await _repair_log(config, error, dry_run=dry_run)
        await _repair(config, dry_run=False, deep=deep)


async def _repair_log(config: Config, damage: DamagedLog, *, dry_run: bool) -> None:
    """Save the records that can be read in a new log. Raises CommandError where there are none, and for a dry run."""
    if dry_run:
        raise CommandError(f"{str(damage).partition(';')[0]}; `sightline repair` saves the records that can be read")
    try:
        with doing("saving the records that can be read; the damaged log stays as it is"):
            salvaged = await salvage_log(config, damage)
    except DamagedLog as error:
        raise CommandError(
            f"{error}; no record can be read: `sightline repair --new-log` makes a new log from the index and the "
            "pictures"
        ) from error
    _print_salvaged(salvaged, damage)


async def _repair(config: Config, *, dry_run: bool, deep: bool) -> None:
    for line in await salvage_index(config, dry_run=dry_run):
        out.print(line)
    async with opened(config, new_log=True, as_is=dry_run) as parts:
        with CountLine(err) as count, doing("examining the data; nothing is changed yet"):
            plan = await _plan(parts, await examine(parts, deep=deep, report=count))
        _print_plan(plan)
        if not dry_run:
            failed = await _carry_out(parts, plan)
            _print_next(plan, failed)
    if plan.hopeless or (not dry_run and failed):
        raise typer.Exit(1)


async def _plan(parts: Parts, examination: Examination) -> RepairPlan:
    found = Circumstances(
        findings=examination.findings,
        pictures=examination.pictures,
        accepted=await feeds_of_accepted(parts.transport),
        taken=await taken_of_accepted(parts.transport),
        index_was_lost=bool(examination.absent),
        records_were_lost=has_log_aside(parts.config),
        damaged_points=await frames_of_damaged(parts, examination),
    )
    return plan_repair(examination.known, found)


async def _carry_out(parts: Parts, plan: RepairPlan) -> dict[str, str]:
    """Returns the frames that failed, with the reason. The collections are made last: their absence is what tells a
    later repair that the index was lost.
    """
    backends = Backends(parts.transport, parts.index, parts.blobs)
    with CountLine(err) as count, doing("repairing; what is done so far stays done"):
        work = Repair(backends, SystemClock(), thumbnail_maker(parts.config), count.of)
        await work.carry_out(plan)
    for alias, spec in collections(parts.config, worker_settings(parts.config)).items():
        await parts.index.ensure(spec, alias)
    found_pictures_folder(parts.config)
    return work.failed


def _print_salvaged(salvaged: SalvagedLog, damage: DamagedLog) -> None:
    err.print(f"! {str(damage).partition(';')[0]}", soft_wrap=True)
    out.print(
        f"The log was damaged: {counted(sum(topic.saved for topic in salvaged.topics), 'record')} saved in a new one"
    )
    for topic in (topic for topic in salvaged.topics if topic.lost):
        most = "" if topic.is_exact else "at most "
        out.print(f"  {topic.name}: {counted(topic.saved, 'record')} saved, {most}{topic.lost} lost")
    err.print(f"! the damaged log is now {salvaged.aside}: remove it once it is not needed", soft_wrap=True)


def _print_plan(plan: RepairPlan) -> None:
    if not plan.counts:
        out.print("[green]Nothing to repair.[/]", markup=True)
        return
    table = new_table(("what", "number", "for example"), right=("number",))
    examples = dict(_examples(plan))
    for kind, number in plan.counts.items():
        table.add_row(MEANINGS[kind], str(number), ", ".join(examples[kind][:EXAMPLES]))
    out.print(table)
    for reason in sorted(set(plan.hopeless.values())):
        number = sum(each == reason for each in plan.hopeless.values())
        err.print(f"! {counted(number, 'frame')}: {reason}", soft_wrap=True)


def _examples(plan: RepairPlan) -> Iterator[tuple[str, list[str]]]:
    yield "points_deleted", [frame for frames in plan.delete_points.values() for frame in frames]
    yield "originals_from_the_log", list(plan.put_back)
    yield "thumbnails", list(plan.thumbnails)
    yield "frames_to_process", list(plan.process)
    yield "frames_listed_as_accepted", list(plan.accepted)
    yield "originals_to_ingest_again", list(plan.lost)
    yield "hopeless", list(plan.hopeless)


def _print_next(plan: RepairPlan, failed: dict[str, str]) -> None:
    for frame, why in list(failed.items())[:EXAMPLES]:
        err.print(f"! frame {frame}: {why}", soft_wrap=True)
    if len(failed) > EXAMPLES:
        err.print(f"! {counted(len(failed), 'frame')} in all could not be repaired")
    steps = ["`sightline work --until-idle`"] if plan.process else []
    if plan.lost:
        feeds = sorted({lost.feed for _, lost in plan.lost.values()})
        steps.insert(0, f"`sightline ingest` of the sources of {', '.join(feeds)} (lost originals are written again)")
    if steps:
        out.print(f"Next: {', then '.join([*steps, '`sightline check`'])}", soft_wrap=True)
