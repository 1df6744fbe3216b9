"""`sightline backup`: copy log, index and pictures while everything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sightline.config import Config
from sightline.terminal.options import CommandError, UsageError, configured, out
from sightline.terminal.render import counted, local_time
from sightline.wiring.backup_parts import backup_source, elsewhere
from sightline.wiring.existing_data import check_data_folder
from sightline.wiring.lost_log import index_folder, log_path, picture_folder
from streams.lifecycle.backup import BackupReport, back_up
from streams.lifecycle.backup_folder import BackupFolder

NAMED_PICTURES = 3
To = Annotated[Path, typer.Argument(help="Folder of the backup; created if missing.")]
Verify = Annotated[bool, typer.Option("--verify", help="Read what is there already, too, and replace damaged files.")]
Replace = Annotated[
    bool, typer.Option("--replace", help="Take the place of a backup of another data folder, or of a longer log.")
]


@configured
async def backup(
    config: Config,
    to: To,
    verify: Verify = False,  # noqa: FBT002 - a flag as typed
    replace: Replace = False,  # noqa: FBT002 - a flag as typed
) -> None:
    """Back up log, index and pictures into a folder, while workers, feeds and the page run.

    A further backup into the same folder copies what is new and removes what is gone, erased pictures among it. The
    folder holds one whole backup at any time, also if this command is interrupted. `sightline restore` restores it.
    """
    places = [place for place in (log_path(config), index_folder(config), picture_folder(config)) if place]
    if not places:
        raise CommandError("nothing of this deployment is embedded: " + "; ".join(elsewhere(config)))
    _check_apart(to.absolute(), [*places, config.data_path])
    check_data_folder(config)
    async with backup_source(config, lost_parts_allowed=replace) as source:
        report = await back_up(source, BackupFolder(to.absolute(), verify=verify), replace=replace)
    _print(report, to, config)
    if report.damaged:
        raise CommandError(_damaged(report))


def _check_apart(to: Path, places: list[Path]) -> None:
    """Raises UsageError where one of the folders contains another."""
    target = to.resolve()
    for place in (path.resolve() for path in places):
        if target == place or target in place.parents or place in target.parents:
            raise UsageError(f"{to} and {place} lie in each other: give a folder apart, best on another disk")


def _print(report: BackupReport, to: Path, config: Config) -> None:
    made = report.manifest
    contents = [counted(made.records, "record")] if made.log else []
    contents += [counted(sum(made.points.values()), "point")] if made.index is not None else []
    contents += [counted(len(made.pictures), "picture file")] if made.pictures is not None else []
    changes = f"{report.new_pictures} new, {report.removed_pictures} removed"
    out.print(f"Backup of {local_time(made.made, config.zone)} in {to}: {', '.join(contents)} ({changes})")
    for line in elsewhere(config):
        out.print(f"not in this backup: {line}")


def _damaged(report: BackupReport) -> str:
    names = ", ".join(report.damaged[:NAMED_PICTURES])
    return (
        f"{counted(len(report.damaged), 'picture')} in the data folder that cannot be read or are damaged ({names}): "
        "the backup keeps an earlier whole copy where it has one; run `sightline check`"
    )
