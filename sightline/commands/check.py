"""`sightline check`: whether every accepted frame has its end."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from sightline.config import Config
from sightline.terminal.options import configured, out, print_lines
from sightline.terminal.render import counted, new_table
from sightline.wiring.build_worker import collections, worker_settings
from sightline.wiring.existing_data import check_data_folder
from sightline.wiring.idle import left
from sightline.wiring.parts import opened
from sightline.wiring.stage_loader import embedding_stages
from sightline.wiring.unfinished import unfinished_lines
from streams.lifecycle.check import Findings
from streams.lifecycle.check import check as compare

EXAMPLES = 3
"""Frame ids per fault in the table; `--json` has all of them."""
MEANINGS = {
    "missing": "accepted, but neither enriched nor dead-lettered",
    "unknown": "enriched or dead-lettered, but never accepted",
    "points_of_dead": "dead-lettered, but still in the index",
    "points_missing": "enriched, but without a point in the index",
    "orphans": "in the index, but not enriched with an embedding",
    "doubled": "more than one point of the frame",
}

AsJson = Annotated[bool, typer.Option("--json", help="Print counts and all frame ids as one JSON object.")]


@configured
async def check(config: Config, as_json: AsJson = False) -> None:  # noqa: FBT002 - a flag as typed
    """Check that every accepted frame is enriched, dead-lettered or deleted, and that the index holds its points.

    Reads all frame topics and the index, and changes nothing. Run it while no frame is being processed: frames in
    flight count as missing. Exit status 1 means that something is wrong.
    """
    check_data_folder(config)
    names = [spec.name for spec in collections(config, worker_settings(config)).values()]
    async with opened(config) as parts:
        unprocessed = await left(parts)
        print_lines(await unfinished_lines(config, parts.transport))
        findings = await compare(parts.transport, parts.index, names, embedding_stages=embedding_stages(config))
    if as_json:
        out.print_json(msgspec.json.encode(_as_json(findings, unprocessed)).decode())
    else:
        _print(findings, unprocessed)
    if not findings.kept:
        raise typer.Exit(1)


def _as_json(findings: Findings, unprocessed: int) -> dict[str, Any]:
    return {**msgspec.to_builtins(findings), "unprocessed": unprocessed, "kept": findings.kept}


def _print(findings: Findings, unprocessed: int) -> None:
    counts = {"enriched": findings.enriched, "dead-lettered": findings.dead, "deleted": findings.deleted}
    ends = ", ".join(f"{number} {name}" for name, number in counts.items())
    out.print(f"{counted(findings.accepted, 'frame')} accepted: {ends}")
    if findings.older:
        out.print(f"{counted(len(findings.older), 'frame')} older than the log's retention: not checked")
    if unprocessed:
        out.print(
            f"[yellow]{counted(unprocessed, 'record')} not processed yet: the frames count as missing. Run "
            "`sightline work --until-idle`, then check again.[/]",
            markup=True,
        )
    if findings.kept:
        out.print("[green]Every accepted frame has its end, and the index fits.[/]", markup=True)
        return
    table = new_table(("fault", "frames", "for example"), right=("frames",))
    for fault, frames in findings.faults.items():
        table.add_row(MEANINGS[fault], str(len(frames)), ", ".join(frames[:EXAMPLES]))
    out.print(table)
