"""A copy of every requested deletion beside the pictures, where the log is a broker or the pictures lie elsewhere.

A log that is lost, or replaced by an older copy, no longer knows what was requested after that copy. The notes do:
their deletions are requested again when the log is opened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from schemas import topics
from schemas.events import Deletion
from stores.errors import Missing
from stores.notes import Notes
from stores.pages import pages
from streams.lifecycle.deletions import publish_deletions
from streams.lifecycle.erasure import requested_deletions
from streams.transport import Transport

log = structlog.get_logger()
COMPARED = "compared.json"
DELETIONS_PER_NOTE, READ_AT_ONCE = 10_000, 32


class Compared(Struct, frozen=True):
    """When log and notes were found to know the same deletions."""

    ends: list[int]
    """The next offset of each partition of `deletions`: in an older copy of the log, some are lower."""

    def is_of(self, ends: Sequence[int]) -> bool:
        return len(ends) == len(self.ends) and all(now >= then for now, then in zip(ends, self.ends, strict=True))


class DeletionNotes:
    """A note holds the deletions of one request, a line of JSON each, and is named by the SHA-256 of its content."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    async def request(self, transport: Transport, deletions: Sequence[Deletion]) -> None:
        """Note the deletions, then write them to the log. Raises StoreUnavailable, Unavailable, LogFull.

        A process that is killed in between leaves log and notes to be compared.
        """
        await self._notes.delete(COMPARED)
        await self._put(deletions)
        await publish_deletions(transport, deletions)
        await self._note_compared(transport)

    async def restore(self, transport: Transport) -> int:
        """Request again what the log does not know. Returns how many. Raises StoreUnavailable, Unavailable, LogFull.

        Both may be long, so they are compared only where the log may be another one or the last request was broken off.
        What the notes lack is added: the log may be older than they are.
        """
        compared, ends = await self._compared(), await _ends(transport)
        if compared is not None and compared.is_of(ends):
            return 0
        noted = await self._read()
        if not noted and not any(ends):
            return 0
        logged = await requested_deletions(transport)
        missing = [replace(deletion, erased=None) for frame, deletion in noted.items() if frame not in logged]
        await publish_deletions(transport, missing)
        await self._put([deletion for frame, deletion in logged.items() if frame not in noted])
        await self._note_compared(transport)
        if missing:
            log.warning("deletions_requested_again", frames=len(missing), why="the log is an older copy, or a new one")
        return len(missing)

    async def _put(self, deletions: Sequence[Deletion]) -> None:
        for page in pages(deletions, DELETIONS_PER_NOTE):
            content = b"".join(msgspec.json.encode(deletion) + b"\n" for deletion in page)
            await self._notes.put(sha256(content).hexdigest(), content)

    async def _read(self) -> dict[str, Deletion]:
        """By frame, each as it was requested last."""
        names = [name for name in await self._notes.names() if name != COMPARED]
        found: list[Deletion] = []
        for page in pages(names, READ_AT_ONCE):
            for deletions in await asyncio.gather(*map(self._note, page)):
                found += deletions
        return {deletion.frame: deletion for deletion in sorted(found, key=lambda each: each.requested)}

    async def _note(self, name: str) -> list[Deletion]:
        """Of a damaged note, what can be read."""
        content = await self._notes.get(name)
        if sha256(content).hexdigest() != name:
            log.warning("deletions_note_damaged", note=name, next="check the disk or the object store")
        deletions = []
        for line in content.splitlines():
            with suppress(msgspec.MsgspecError):
                deletions.append(msgspec.json.decode(line, type=Deletion))
        return deletions

    async def _compared(self) -> Compared | None:
        with suppress(Missing, msgspec.MsgspecError):
            return msgspec.json.decode(await self._notes.get(COMPARED), type=Compared)
        return None

    async def _note_compared(self, transport: Transport) -> None:
        await self._notes.put(COMPARED, msgspec.json.encode(Compared(await _ends(transport))))


async def _ends(transport: Transport) -> list[int]:
    spans = await transport.ends(topics.DELETIONS)
    return [spans[partition][1] for partition in sorted(spans)]
