"""Where the second copy of requested deletions lies: in the data folder, beside an embedded log."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.events import Deletion
from sightline.config import Config
from streams.lifecycle.deletion_copy import DeletionCopy
from streams.transport import Transport


def _copy(config: Config) -> DeletionCopy | None:
    """None on Kafka, whose topics have copies of their own."""
    return DeletionCopy(config.data_path) if config.transport_url.startswith("sqlite:") else None


async def append_copy(config: Config, deletions: Sequence[Deletion]) -> None:
    """Raises OSError."""
    if (copy := _copy(config)) is not None:
        await copy.append(deletions)


def add_unknown_copies(config: Config, deletions: Sequence[Deletion]) -> None:
    """Append those that the copy lacks. Blocks. Raises OSError."""
    if (copy := _copy(config)) is not None:
        copy.add_unknown(deletions)


async def restore_deletions(config: Config, transport: Transport) -> None:
    """Request again what an older log does not know. Raises Unavailable, LogFull."""
    if (copy := _copy(config)) is not None:
        await copy.restore(transport)
