"""Frames that a search leaves out: they were erased, and an older copy of the index has points of them."""

from __future__ import annotations

from collections.abc import Container

import structlog

from sightline.config import Config
from sightline.wiring.deletion_copy import restore_noted_deletions
from sightline.wiring.lost_log import log_path
from sightline.wiring.parts import opened_transport
from streams.errors import StreamError
from streams.lifecycle.deletions import Deletions

log = structlog.get_logger("sightline.wiring")


async def erased_frames(config: Config) -> Container[str]:
    """Of the log. One that is away or damaged is told, and the search goes on without it."""
    if (path := log_path(config)) is not None and not path.exists():
        return ()
    try:
        async with opened_transport(config, as_is=True) as transport:
            await restore_noted_deletions(config, transport)
            deletions = Deletions(transport)
            await deletions.catch_up()
            return deletions
    except StreamError as error:
        log.warning("erased_frames_unknown", why=str(error), next="what is erased may be shown until a worker starts")
        return ()
