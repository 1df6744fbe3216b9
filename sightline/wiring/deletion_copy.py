"""Where the second copy of requested deletions lies: beside an embedded log, and in a blob store that is elsewhere.

The file in the data folder is lost with it. A blob store that is not in the data folder has the requests, too; with
Kafka it is the only other place that every process of a deployment reaches.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from schemas.events import Deletion
from sightline.config import Config
from stores.errors import StoreUnavailable
from stores.open import blob_folder, open_notes
from streams.errors import Forbidden, PlanError, Unavailable
from streams.lifecycle.deletion_copy import DeletionCopy
from streams.lifecycle.deletion_notes import DeletionNotes
from streams.lifecycle.deletions import publish_deletions
from streams.retry import Retry
from streams.transport import Transport

log = structlog.get_logger("sightline.wiring")


def _copy(config: Config) -> DeletionCopy | None:
    return DeletionCopy(config.data_path) if config.transport_url.startswith("sqlite:") else None


def _notes(config: Config) -> DeletionNotes | None:
    """None where log and pictures share the data folder. A namespace has notes of its own."""
    folder = blob_folder(config.blobs_url)
    is_embedded = config.transport_url.startswith("sqlite:")
    if is_embedded and folder is not None and folder.absolute().is_relative_to(config.data_path.absolute()):
        return None
    about = f"deletions.{config.namespace}" if config.namespace else "deletions"
    return DeletionNotes(open_notes(config.blobs_url, about))


async def request_deletions(config: Config, transport: Transport, deletions: Sequence[Deletion]) -> None:
    """Write the deletions to the copies, then to the log. Raises OSError, StoreUnavailable, Unavailable, LogFull."""
    if (copy := _copy(config)) is not None:
        await copy.append(deletions)
    if (notes := _notes(config)) is not None:
        await notes.request(transport, deletions)
    else:
        await publish_deletions(transport, deletions)


def add_unknown_copies(config: Config, deletions: Sequence[Deletion]) -> None:
    """Append those that the copy lacks. Blocks. Raises OSError."""
    if (copy := _copy(config)) is not None:
        copy.add_unknown(deletions)


async def restore_deletions(config: Config, transport: Transport) -> None:
    """Request again what an older embedded log does not know and the data folder does. Raises Unavailable, LogFull."""
    if (copy := _copy(config)) is not None:
        await copy.restore(transport)


async def restore_noted_deletions(config: Config, transport: Transport, retry: Retry | None = None) -> None:
    """Request again what an older log does not know and the blob store does. Raises Unavailable, LogFull.

    With `retry` a store that is away is waited for. Otherwise it is told, and the caller goes on.
    """
    if (notes := _notes(config)) is None:
        return
    if retry is not None:
        await retry.connect(
            "blobs", lambda: retry.forever("broker", lambda: notes.restore(transport), Unavailable), StoreUnavailable
        )
        return
    try:
        await notes.restore(transport)
    except (StoreUnavailable, Forbidden, PlanError) as error:
        log.warning(
            "deletions_not_compared",
            why=str(error),
            next="a log that is an older copy may show erased frames until a worker starts",
        )
