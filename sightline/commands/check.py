"""`sightline check`: whether every accepted frame has its end, its points and its picture."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from sightline.config import Config
from sightline.terminal.options import configured, err, out, print_lines
from sightline.terminal.progress import CountLine
from sightline.terminal.render import counted, new_table
from sightline.wiring.examination import Examination, examine, picture_files
from sightline.wiring.existing_data import check_data_folder
from sightline.wiring.lost_parts import check_parts
from sightline.wiring.parts import opened
from sightline.wiring.unfinished import unfinished_lines

EXAMPLES = 3
"""Frame ids per fault in the table; `--json` has all of them."""
MEANINGS = {
    "missing": "accepted, but neither enriched nor dead-lettered",
    "unknown": "enriched or dead-lettered, but never accepted",
    "points_of_dead": "dead-lettered, but still in the index",
    "points_missing": "enriched, but without a point in the index",
    "orphans": "in the index, but not enriched with an embedding",
    "doubled": "more than one point of the frame",
    "originals_missing": "its original is gone",
    "originals_damaged": "its original has other bytes than were stored",
    "thumbnails_missing": "its thumbnail is gone",
    "thumbnails_damaged": "its thumbnail is damaged",
    "uncited": "pictures that no record and no point names",
    "unlogged": "in the index, but not on the log",
    "damaged_points": "points whose vectors or payload are damaged",
}

Deep = Annotated[
    bool, typer.Option("--deep", help="Read every original, thumbnail and point, and compare hashes and checksums.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print counts and all frame ids as one JSON object.")]


@configured
async def check(
    config: Config,
    deep: Deep = False,  # noqa: FBT002 - a flag as typed
    as_json: AsJson = False,  # noqa: FBT002 - a flag as typed
) -> None:
    """Check that every accepted frame is enriched, dead-lettered or deleted, and that its points and picture are there.

    Reads all frame topics, the index and the list of pictures, and changes nothing. Run it while no frame is being
    processed: frames in flight count as missing. Exit status 1 means that something is wrong; `sightline repair` makes
    again what can be made again.
    """
    check_data_folder(config)
    async with opened(config, as_is=True) as parts:
        print_lines(await check_parts(config, parts.transport, parts.index))
        print_lines(await unfinished_lines(config, parts.transport))
        with CountLine(err) as count:
            examination = await examine(parts, deep=deep, report=count)
    if as_json:
        out.print_json(msgspec.json.encode(_as_json(config, examination)).decode())
    else:
        _print(config, examination)
    if not examination.is_whole:
        raise typer.Exit(1)


def _as_json(config: Config, examination: Examination) -> dict[str, Any]:
    return {
        **msgspec.to_builtins(examination.findings),
        "unprocessed": examination.unprocessed,
        "pictures": msgspec.to_builtins(examination.pictures),
        "files": picture_files(config, examination),
        "damaged_points": examination.damaged_points,
        "points_lost": _lost_points(examination),
        "other_model_sets": dict(examination.others),
        "kept": examination.is_whole,
    }


def _lost_points(examination: Examination) -> int:
    return sum(each.missing for each in examination.verified.values())


def _print(config: Config, examination: Examination) -> None:
    _print_counts(examination)
    if examination.unprocessed:
        out.print(
            f"[yellow]{counted(examination.unprocessed, 'record')} not processed yet: the frames count as missing. Run "
            "`sightline work --until-idle`, then check again.[/]",
            markup=True,
        )
    if examination.is_whole:
        out.print("[green]Every accepted frame has its end, and the index and the pictures fit.[/]", markup=True)
        return
    table = new_table(("fault", "frames", "for example"), right=("frames",))
    faults = examination.findings.faults | examination.pictures.faults
    if damaged := [point for points in examination.damaged_points.values() for point in points]:
        faults["damaged_points"] = damaged
    for fault, frames in faults.items():
        table.add_row(MEANINGS[fault], str(len(frames)), ", ".join(frames[:EXAMPLES]))
    out.print(table)
    for fault, files in picture_files(config, examination).items():
        for file in files[:EXAMPLES]:
            out.print(f"{file}: {'missing' if fault.endswith('missing') else 'damaged'}", soft_wrap=True)
    out.print("Next: `sightline repair --dry-run` says what can be made again.")


def _print_counts(examination: Examination) -> None:
    findings, pictures = examination.findings, examination.pictures
    counts = {"enriched": findings.enriched, "dead-lettered": findings.dead, "deleted": findings.deleted}
    ends = ", ".join(f"{number} {name}" for name, number in counts.items())
    out.print(f"{counted(findings.accepted, 'frame')} accepted: {ends}")
    read = f", {pictures.read} of them read" if pictures.read else ""
    out.print(f"{counted(pictures.originals, 'original')} stored{read}, {counted(pictures.thumbnails, 'thumbnail')}")
    if findings.older:
        out.print(f"{counted(len(findings.older), 'frame')} older than the log's retention: not checked")
    for name, count in examination.others.items():
        out.print(f"{counted(count, 'frame')} indexed with other models, in {name}: not checked")
