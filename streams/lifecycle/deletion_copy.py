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
from streams.lifecycle.deletions import Deletions, deletion_record
from streams.tasks import in_daemon_thread
from streams.transport import Transport

NAME = "deletions.jsonl"
RECORDS_PER_WRITE = 1_000


class DeletionCopy:
    """One JSON object per line, only ever appended to."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME

    async def append(self, deletions: Sequence[Deletion]) -> None:
        """Durable when it returns. Raises OSError."""
        await in_daemon_thread(lambda: self._append(deletions))

    def _append(self, deletions: Sequence[Deletion]) -> None:
        lines = b"".join(msgspec.json.encode(deletion) + b"\n" for deletion in deletions)
        with self.path.open("ab") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())

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
        for start in range(0, len(missing), RECORDS_PER_WRITE):
            page = missing[start : start + RECORDS_PER_WRITE]
            await transport.publish([deletion_record(replace(deletion, erased=None)) for deletion in page])
        return len(missing)
