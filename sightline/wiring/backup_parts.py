"""Which parts of a configuration are embedded, and where they lie: a backup copies these and no others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path

from sightline.config import Config
from sightline.wiring.config_check import without_passwords
from sightline.wiring.lost_log import index_folder, log_path, picture_folder
from sightline.wiring.lost_parts import check_parts
from sightline.wiring.parts import connected_transport
from streams.lifecycle.backup import BackupSource
from streams.lifecycle.restore import RestoreTargets
from streams.sqlite.backup import PinnedLog, side_files

OWN_TOOLS = {
    "transport": "the log at {}: Kafka keeps copies of its own (replication, MirrorMaker)",
    "index": "the index at {}: use Qdrant's snapshots",
    "blobs": "the pictures at {}: use the object store's versions or replication",
}
"""What a backup of ours does not hold, by key of the configuration."""


def elsewhere(config: Config) -> list[str]:
    """A line for each part that is not embedded, naming the tool that backs it up."""
    places = {"transport": log_path(config), "index": index_folder(config), "blobs": picture_folder(config)}
    shown = without_passwords(config)
    return [OWN_TOOLS[key].format(shown[key]) for key, place in places.items() if place is None]


def restore_targets(config: Config) -> RestoreTargets:
    """Where links lead to: what is restored lies on the same disk as before, and SQLite's files beside the log."""
    places = (log_path(config), index_folder(config), picture_folder(config))
    log, index, pictures = (place.resolve() if place else None for place in places)
    return RestoreTargets(log, index, pictures, side_files(log) if log else ())


@asynccontextmanager
async def backup_source(config: Config, *, lost_parts_allowed: bool) -> AsyncIterator[BackupSource]:
    """The embedded parts, opened as far as copying them needs it.

    Raises Missing where one is gone: its place in the last backup is not taken by nothing.
    """
    log, index = log_path(config), index_folder(config)
    async with AsyncExitStack() as stack:
        transport = await stack.enter_async_context(connected_transport(config, as_is=True)) if log else None
        if transport is not None and not lost_parts_allowed:
            await check_parts(config, transport, needed=("index", "pictures"))
        yield BackupSource(
            name=str(config.data_path),
            version=version("sightline"),
            transport=transport,
            pin_log=partial(PinnedLog, log) if log else None,
            copy_index=partial(copy_index, index) if index else None,
            pictures=picture_folder(config),
        )


async def copy_index(folder: Path, target: Path, while_held: Callable[[], Awaitable[None]]) -> Mapping[str, int]:
    """Copy the embedded index; the points by collection, none where there is no index yet."""
    from stores.edge.client import EdgeIndex

    if not folder.is_dir():
        return {}
    index = EdgeIndex(folder)
    try:
        return await index.snapshot(target, while_held)
    finally:
        await index.close()
