"""An index or pictures that are gone although the log says that they were there.

The log is the mark of what existed: its events name the collections that hold their points, and every record of a frame
cites its picture. A part that is there is recognized without reading the log.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import suppress
from pathlib import Path
from typing import Literal

from schemas import codec, points, topics
from schemas.errors import SchemaError
from schemas.events import FrameEvent
from sightline.config import Config
from sightline.wiring.build_worker import worker_settings
from sightline.wiring.lost_log import has_pictures, index_folder, log_path
from sightline.wiring.parts import connected_transport
from sightline.wiring.stage_loader import embedding_stages
from stores.edge import catalog
from stores.errors import Damaged, Missing, StoreUnavailable, WrongLayout
from stores.index import Index
from stores.open import blob_folder
from streams.errors import Unavailable
from streams.transport import Transport

Part = Literal["index", "pictures"]
INDEX: tuple[Part, ...] = ("index",)
NEWEST_RECORDS = 100
"""Events read at the end of each partition: an embedded one among them says that there was a collection."""


async def check_parts(
    config: Config, transport: Transport, index: Index | None = None, needed: tuple[Part, ...] = ()
) -> list[str]:
    """A line for each part that is gone. Raises Missing where it is `needed`.

    Without `index` only an embedded one is looked for. What is away is not gone.
    """
    lost = {"index": await _lost_index(config, transport, index), "pictures": await _lost_pictures(config, transport)}
    for part, line in lost.items():
        if line and part in needed:
            raise Missing(line)
    return [line for line in lost.values() if line]


async def check_index_is_not_lost(config: Config, index: Index) -> None:
    """For an index without the collection of the configured models. Raises Missing where the log knows its points."""
    path = log_path(config)
    if path is not None and not path.exists():
        return
    with suppress(Unavailable):  # the log is no part of a search: it may be away
        async with connected_transport(config, as_is=True) as transport:
            await check_parts(config, transport, index, INDEX)


async def _lost_index(config: Config, transport: Transport, index: Index | None) -> str:
    settings = worker_settings(config)
    if not settings.model_set:
        return ""
    wanted = points.collection(points.FRAMES, settings.model_set)
    names = await _collections(config, index)
    if names is None or wanted in names or not await _had_points(config, transport, settings.model_set, names):
        return ""
    return (
        f"the index at {config.index or index_folder(config)} is gone: it has no collection {wanted}, and the log has "
        "events of pictures that were indexed in it; run `sightline repair`, which makes its points again, or "
        "`sightline restore FROM` with a backup"
    )


async def _collections(config: Config, index: Index | None) -> Collection[str] | None:
    """The index's collections; None: it cannot be asked now."""
    if (folder := index_folder(config)) is not None:
        return _of_folder(folder, f"{config.namespace}." if config.namespace else "")
    try:
        return None if index is None else await index.collections()
    except StoreUnavailable:
        return None


def _of_folder(folder: Path, prefix: str) -> Collection[str] | None:
    """As its catalog names them, without starting the index process."""
    if not folder.is_dir():
        return ()
    try:
        return [name.removeprefix(prefix) for name in catalog.load(folder).collections]
    except (Damaged, WrongLayout):
        return None  # what opens the index says so


async def _had_points(config: Config, transport: Transport, model_set: str, names: Collection[str]) -> bool:
    """Whether an event says so; where all events have expired, whether there is no collection at all."""
    if not await _has_records(transport, topics.ENRICHED):
        return False
    stages, seen = embedding_stages(config), False
    async for event in _newest_events(transport):
        seen = True
        if event.model_set == model_set and any(entry.stage in stages for entry in event.trace):
            return True
    return not seen and not names and bool(stages)


async def _newest_events(transport: Transport) -> AsyncIterator[FrameEvent]:
    for partition, (first, end) in (await transport.ends(topics.ENRICHED)).items():
        for record in await transport.read(partition, max(first, end - NEWEST_RECORDS), NEWEST_RECORDS):
            try:
                yield codec.decode_frame(record.value, record.headers).event
            except SchemaError:
                continue


async def _lost_pictures(config: Config, transport: Transport) -> str:
    """Of a folder: an object store is not asked here."""
    folder = blob_folder(config.blobs_url)
    if folder is None or has_pictures(folder):
        return ""
    if not await _has_records(transport, topics.ENRICHED) and not await _has_records(transport, topics.ACCEPTED):
        return ""
    return (
        f"the pictures in {folder.absolute()} are gone, and the log has frames that were stored there: mount their "
        "disk, or run `sightline restore FROM` with a backup, or `sightline repair`, then ingest their sources again"
    )


async def _has_records(transport: Transport, topic: str) -> bool:
    """Whether the topic ever had one."""
    return topic in await transport.topics() and any(end for _, end in (await transport.ends(topic)).values())
