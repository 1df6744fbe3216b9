"""`sightline restore`: put a backup in place."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from sightline.config import Config
from sightline.terminal.options import configured, err, out
from sightline.terminal.render import counted, local_time
from sightline.wiring.backup_parts import restore_targets
from sightline.wiring.deletion_copy import add_unknown_copies
from sightline.wiring.lost_log import index_folder, log_path
from sightline.wiring.parts import connected_transport
from stores.edge.stop import stop
from streams.errors import StreamError
from streams.lifecycle import restore as restoring
from streams.lifecycle.backup_folder import BackupFolder
from streams.lifecycle.backup_manifest import Manifest, StoredDeletion
from streams.sqlite.backup import check_unused

From = Annotated[Path, typer.Argument(metavar="FROM", help="Folder of a backup.")]
Replace = Annotated[
    bool, typer.Option("--replace", help="Move log, index and pictures that are there aside, and keep their deletions.")
]


@configured
async def restore(
    config: Config,
    source: From,
    replace: Replace = False,  # noqa: FBT002 - a flag as typed
) -> None:
    """Restore a backup into an empty data folder; every file is checked first.

    Deletions that were requested after the backup stay in force where the former log can be read. Run `sightline work
    --until-idle` afterwards: it processes what was not finished, and erases again what was deleted since.
    """
    deletions = await _give_up(config) if replace else []
    aside = f".before-{datetime.now(UTC):%Y%m%dT%H%M%S}" if replace else None
    before = partial(_before_placing, config, deletions, in_place=replace)
    put = partial(restoring.restore, BackupFolder(source.absolute()), restore_targets(config), aside, before)
    manifest, moved = await asyncio.to_thread(put)
    requested = 0
    if manifest.log is not None:
        async with connected_transport(config, as_is=True) as transport:
            requested = await restoring.request_again(transport, [*manifest.deletions, *deletions])
    _print(manifest, config, moved, requested)


async def _give_up(config: Config) -> list[StoredDeletion]:
    """The deletions of the log that is about to be replaced; nothing uses it any more. Raises Unavailable."""
    log, index = log_path(config), index_folder(config)
    deletions: list[StoredDeletion] = []
    if log is not None and log.exists():
        check_unused(log)
        try:
            async with connected_transport(config, as_is=True) as transport:
                deletions = await restoring.former_deletions(transport)
        except StreamError as error:
            err.print(
                "! the former log cannot be read: deletions requested after the backup are taken from deletions.jsonl "
                f"in the data folder, where it is there: {error}",
                soft_wrap=True,
            )
    if index is not None:
        await asyncio.to_thread(stop, index)
    return deletions


def _before_placing(config: Config, deletions: list[StoredDeletion], manifest: Manifest, *, in_place: bool) -> None:
    """Writing took minutes: what was started meanwhile would go on with what is moved aside.

    The deletions are durable before anything that they erase is back. Blocks. Raises Unavailable, StoreUnavailable.
    """
    log, index = log_path(config), index_folder(config)
    if in_place and log is not None and log.exists():
        check_unused(log)
    if in_place and index is not None:
        stop(index)
    add_unknown_copies(config, restoring.requested_since([*manifest.deletions, *deletions]))


def _print(manifest: Manifest, config: Config, moved: list[Path], requested: int) -> None:
    contents = [counted(manifest.records, "record")] if manifest.log else []
    contents += [counted(sum(manifest.points.values()), "point")] if manifest.index is not None else []
    contents += [counted(len(manifest.pictures), "picture file")] if manifest.pictures is not None else []
    out.print(f"Restored the backup of {local_time(manifest.made, config.zone)}: {', '.join(contents)}")
    if requested:
        out.print(f"{counted(requested, 'deletion')} requested since then: workers will apply them again")
    if moved:
        out.print(f"The former data is in {', '.join(map(str, moved))}: remove it once it is not needed")
    out.print("Next: `sightline work --until-idle`, then `sightline check`")
