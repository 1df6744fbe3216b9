"""Ends an index process whose folder is about to be moved."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from stores.edge.process_files import LOCK
from stores.errors import StoreUnavailable

STOP_SECONDS = 60.0
"""It flushes before it ends."""
PAUSE_SECONDS = 0.02


def stop(folder: Path) -> None:
    """Return when no process serves `folder`. Blocks. Raises StoreUnavailable if it does not end."""
    if not (folder / LOCK).exists():
        return
    deadline = time.monotonic() + STOP_SECONDS
    with (folder / LOCK).open("r+") as lock:
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            text = (folder / LOCK).read_text()
            if time.monotonic() > deadline:
                raise StoreUnavailable(f"the index process {text} of {folder} does not end: end it, then try again")
            with suppress(ValueError, ProcessLookupError):
                os.kill(int(text), signal.SIGTERM)
            time.sleep(PAUSE_SECONDS)
