"""`sightline compact`: give the space of what was deleted or has expired back to the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from msgspec.structs import replace

from sightline.config import Config
from sightline.terminal.options import CommandError, configured, out
from sightline.terminal.progress import with_status
from sightline.terminal.signals import doing
from sightline.wiring.existing_data import check_data_folder
from sightline.wiring.lost_log import index_folder, log_path
from sightline.wiring.parts import connected_transport
from stores.edge.client import EdgeIndex
from streams.sqlite.transport import SqliteTransport

Log = Annotated[bool, typer.Option("--log", help="Only the embedded log.")]
Index = Annotated[bool, typer.Option("--index", help="Only the embedded index.")]


@configured
async def compact(config: Config, log: Log = False, index: Index = False) -> None:  # noqa: FBT002 - flags as typed
    """Give free space of the embedded log and index back to the disk, while workers, feeds and the page run.

    Both do this by themselves: the log within its retention, the index some minutes after a deletion. This command
    does it now. The index needs as much free space on the disk as its live points take.
    """
    check_data_folder(config)
    log_file, folder = log_path(config), index_folder(config)
    if not (log_file or folder):
        raise CommandError("neither log nor index is embedded: use the tools of your Kafka cluster and Qdrant server")
    if log_file and (log or not index):
        await _log(config, log_file)
    if folder and folder.is_dir() and (index or not log):
        await _index(folder)


async def _log(config: Config, path: Path) -> None:
    sizes: list[tuple[int, int]] = []

    async def work() -> None:
        async with connected_transport(replace(config, namespace="")) as transport:
            if isinstance(transport, SqliteTransport):
                sizes.append(await transport.compact())

    async def describe() -> str:
        return f"compacting the log {path}"

    with doing("compacting the log"):
        await with_status(work(), describe, out)
    for before, after in sizes:
        _print("log", path, before, after)


async def _index(folder: Path) -> None:
    index, sizes, points = EdgeIndex(folder), [0], 0

    async def work() -> None:
        nonlocal points
        async for stored in index.compact():
            sizes.append(sum(each.bytes for each in stored.values()))
            points = sum(each.points for each in stored.values())

    async def describe() -> str:
        return f"compacting the index {folder}: {points} points, {_mib(sizes[-1])}"

    with doing("compacting the index"):
        try:
            await with_status(work(), describe, out)
        finally:
            await index.close()
    _print("index", folder, sizes[1], sizes[-1])


def _print(what: str, path: Path, before: int, after: int) -> None:
    out.print(f"{what} {path}: {_mib(before)} before, {_mib(after)} now")


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
