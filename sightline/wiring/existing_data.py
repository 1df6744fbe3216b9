"""What must be there for a command that only reads: it is told what is missing, and nothing is made."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from schemas.points import FRAMES, collection, holds_frames
from sightline.config import Config
from sightline.wiring.build_worker import frames_collection
from sightline.wiring.lost_log import EMBEDDED
from sightline.wiring.parts import opened_transport
from stores.errors import Missing
from stores.index import Index
from streams.transport import Transport

NOTHING_INDEXED = "nothing is indexed yet: run `sightline ingest PATH`, then `sightline work`"


def check_data_folder(config: Config) -> None:
    """Raises Missing where the embedded log's folder does not exist."""
    if not config.transport and not config.data_path.exists():
        raise Missing(
            f"there is no data folder {config.data_path}: choose another with --data, or run `sightline ingest PATH`"
        )


@asynccontextmanager
async def existing_transport(config: Config) -> AsyncIterator[Transport]:
    """As `opened_transport`, for a deployment that is there, which is left as it is. Raises Missing."""
    check_data_folder(config)
    async with opened_transport(config, as_is=True) as transport:
        yield transport


def check_index_folder(config: Config) -> None:
    """Raises Missing where the embedded index, or the data folder that holds it, does not exist."""
    if not config.index_url.startswith(EMBEDDED):
        return
    if not config.index:
        check_data_folder(config)
    if not Path(config.index_url.removeprefix(EMBEDDED)).is_dir():
        raise Missing(NOTHING_INDEXED)


async def check_indexed(config: Config, index: Index) -> None:
    """Raises Missing where the index has no pictures of the configured models, and says of which models it has some."""
    collections = await index.collections()
    wanted = frames_collection(config)
    if wanted in collections:
        return
    others = {name: points for name, points in collections.items() if holds_frames(name) and points}
    raise Missing(_of_other_models(wanted, others, config) if others else NOTHING_INDEXED)


def _of_other_models(wanted: str, others: Mapping[str, int], config: Config) -> str:
    prefix = collection(FRAMES, "")
    held = ", ".join(f"{name.removeprefix(prefix)} ({points})" for name, points in sorted(others.items()))
    return (
        f"the pictures here are indexed with {held}, not with {wanted.removeprefix(prefix)}: choose those models with "
        f"--models, or process the pictures again: `sightline work --models {config.models} "
        f"--set worker.group={config.worker.group}-{config.models}`"
    )
