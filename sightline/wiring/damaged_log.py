"""Puts an embedded log whose file is damaged back in use: the records that can be read are saved into a new file."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.config import Config
from sightline.wiring.lost_log import log_path, set_log_aside
from streams.errors import DamagedLog

if TYPE_CHECKING:
    from streams.sqlite.salvage import SavedTopic

NEW = ".saved"


@dataclass(frozen=True, slots=True)
class SalvagedLog:
    """`aside` is where the damaged file is now."""

    topics: Sequence[SavedTopic]
    aside: Path


async def salvage_log(config: Config, damage: DamagedLog) -> SalvagedLog:
    """Raises `damage` where no record can be read, Unavailable while another process uses the log: nothing is changed
    then.
    """
    from streams.sqlite.backup import check_unused
    from streams.sqlite.salvage import salvage

    if (path := log_path(config)) is None or not path.exists():
        raise damage
    await asyncio.to_thread(check_unused, path)
    new = path.with_name(path.name + NEW)
    try:
        topics = await asyncio.to_thread(salvage, path, new)
        if not any(topic.saved for topic in topics):
            raise damage
        (aside,) = set_log_aside(config)  # not in a thread: no interruption comes between
        new.rename(path)
    finally:
        if path.exists():
            new.unlink(missing_ok=True)
    return SalvagedLog(topics, aside)


def finish_salvage(config: Config) -> bool:
    """Put the saved records in the log's place where a repair was killed before it could. Raises Unavailable."""
    path = log_path(config)
    if path is None or path.exists() or not (new := path.with_name(path.name + NEW)).exists():
        return False
    set_log_aside(config)
    new.rename(path)
    return True
