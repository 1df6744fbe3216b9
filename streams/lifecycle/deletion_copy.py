"""A second copy of every requested deletion, in a file beside the embedded log.

A log that is lost, or replaced by an older copy, no longer knows what was requested after that copy. The file does: its
deletions are requested again when the log is opened.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from zlib import crc32

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from schemas import codec, topics
from schemas.errors import SchemaError
from schemas.events import Deletion
from stores.folder_sync import sync_folder
from streams.lifecycle.deletions import Deletions, publish_deletions
from streams.tasks import in_daemon_thread
from streams.topic_reader import read_topic
from streams.transport import Transport

log = structlog.get_logger()
NAME, COMPARED = "deletions.jsonl", "deletions.compared.json"


class Compared(Struct, frozen=True):
    """When log and file were found to know the same deletions."""

    size: int
    """Of the file, in bytes."""
    checksum: int
    """Of the file."""
    ends: list[int]
    """The next offset of each partition of `deletions`: in an older copy of the log, some are lower."""

    def is_of(self, ends: Sequence[int]) -> bool:
        return len(ends) == len(self.ends) and all(now >= then for now, then in zip(ends, self.ends, strict=True))


class DeletionCopy:
    """One JSON object per line, only ever appended to."""

    def __init__(self, folder: Path) -> None:
        self.path, self._compared = folder / NAME, folder / COMPARED

    async def append(self, deletions: Sequence[Deletion]) -> None:
        """Durable when it returns. Raises OSError."""
        await in_daemon_thread(lambda: self._append(deletions))

    def add_unknown(self, deletions: Sequence[Deletion]) -> None:
        """Append those that are not in the file yet. Blocks. Raises OSError."""
        self._compared.unlink(missing_ok=True)  # the log is about to be another one
        known = self.read()
        if unknown := [deletion for deletion in deletions if deletion.frame not in known]:
            self._append(unknown)

    def _append(self, deletions: Sequence[Deletion]) -> None:
        lines = b"".join(msgspec.json.encode(deletion) + b"\n" for deletion in deletions)
        is_new = not self.path.exists()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            file.seek(-min(1, file.tell()), os.SEEK_END)
            if file.read(1) not in (b"", b"\n"):
                file.write(b"\n")  # after a line that was cut off
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            sync_folder(self.path.parent)

    def read(self) -> dict[str, Deletion]:
        """By frame. A line that was cut off by a crash is left out: its request was not acknowledged."""
        deletions: dict[str, Deletion] = {}
        for line in self.path.read_bytes().splitlines() if self.path.exists() else ():
            try:
                deletion = msgspec.json.decode(line, type=Deletion)
            except msgspec.MsgspecError:
                continue
            deletions[deletion.frame] = deletion
        return deletions

    async def restore(self, transport: Transport) -> int:
        """Request again what the log does not know. Returns how many. Raises Unavailable, LogFull, PlanError.

        Both may be long, so they are compared only where the file has changed or the log may be another one. What a
        damaged file lacks is written to it again.
        """
        (size, checksum), compared = await in_daemon_thread(self._state)
        is_same_log = compared is not None and compared.is_of(await _ends(transport))
        if is_same_log and compared and (compared.size, compared.checksum) == (size, checksum):
            return 0
        if not size and not compared:
            return 0
        copied, known = await in_daemon_thread(self.read), Deletions(transport)
        await known.catch_up()
        missing = [deletion for frame, deletion in copied.items() if frame not in known]
        if compared and (size < compared.size or (size == compared.size and checksum != compared.checksum)):
            await self._mend(copied, await _logged(transport))
            missing = [] if is_same_log else missing  # it knew every deletion: what it does not know is damage
        await publish_deletions(transport, [replace(deletion, erased=None) for deletion in missing])
        ends = await _ends(transport)
        with suppress(OSError):  # a folder that may not be written: they are compared again
            await in_daemon_thread(lambda: self._note(Compared(*self._file(), ends)))
        return len(missing)

    async def _mend(self, copied: Mapping[str, Deletion], logged: Mapping[str, Deletion]) -> None:
        """Append what a file that lost lines lacks."""
        lost = [deletion for frame, deletion in logged.items() if frame not in copied]
        log.warning(
            "deletions_copy_damaged",
            file=str(self.path),
            written_again=len(lost),
            next="check the disk",
        )
        with suppress(OSError):
            await self.append(lost)

    def _file(self) -> tuple[int, int]:
        """The size and checksum of the file."""
        content = self.path.read_bytes() if self.path.exists() else b""
        return len(content), crc32(content)

    def _state(self) -> tuple[tuple[int, int], Compared | None]:
        """The file as it is, and when it was compared last."""
        file = self._file()
        with suppress(OSError, msgspec.MsgspecError):
            return file, msgspec.json.decode(self._compared.read_bytes(), type=Compared)
        return file, None

    def _note(self, compared: Compared) -> None:
        draft = self._compared.with_name(f"{COMPARED}.{os.getpid()}")
        draft.write_bytes(msgspec.json.encode(compared))
        draft.replace(self._compared)


async def _logged(transport: Transport) -> dict[str, Deletion]:
    """The log's deletions by frame."""
    deletions: dict[str, Deletion] = {}
    async for record in read_topic(transport, topics.DELETIONS):
        with suppress(SchemaError):  # a tombstone, or a record that names no frame
            deletion = codec.decode_deletion(record.value, record.headers)
            deletions[deletion.frame] = deletion
    return deletions


async def _ends(transport: Transport) -> list[int]:
    spans = await transport.ends(topics.DELETIONS)
    return [spans[partition][1] for partition in sorted(spans)]
