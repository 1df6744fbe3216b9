"""A second copy of every requested deletion, in a file beside the embedded log.

A log that is lost, or replaced by an older copy, no longer knows what was requested after that copy. The file does: its
deletions are requested again when the log is opened.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from schemas.events import Deletion
from stores.folder_sync import sync_folder
from streams.lifecycle.deletions import Deletions, publish_deletions
from streams.tasks import in_daemon_thread
from streams.transport import Transport

NAME = "deletions.jsonl"


class DeletionCopy:
    """One JSON object per line, only ever appended to."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME

    async def append(self, deletions: Sequence[Deletion]) -> None:
        """Durable when it returns. Raises OSError."""
        await in_daemon_thread(lambda: self._append(deletions))

    def add_unknown(self, deletions: Sequence[Deletion]) -> None:
        """Append those that are not in the file yet. Blocks. Raises OSError."""
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
        """Request again what the log does not know. Returns how many. Raises Unavailable, LogFull, PlanError."""
        copied = await in_daemon_thread(self.read)
        if not copied:
            return 0
        known = Deletions(transport)
        await known.catch_up()
        missing = [deletion for frame, deletion in copied.items() if frame not in known]
        await publish_deletions(transport, [replace(deletion, erased=None) for deletion in missing])
        return len(missing)
