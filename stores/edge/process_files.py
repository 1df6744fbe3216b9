"""The files of an index process beside the index: its lock, which elects it, and its log."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

LOCK = "index.lock"
LOG = "index.log"
LARGEST_LOG_BYTES = 1 << 20


def redirect(log: Path) -> None:
    """Standard output and errors to `log`, which is started again when it has grown large; no standard input."""
    if log.exists() and log.stat().st_size > LARGEST_LOG_BYTES:
        log.unlink()
    for target, flags in ((0, os.O_RDONLY), (1, os.O_WRONLY | os.O_CREAT | os.O_APPEND)):
        opened = os.open(os.devnull if target == 0 else log, flags, 0o644)
        os.dup2(opened, target)
        os.close(opened)
    os.dup2(1, 2)


def renew_log(folder: Path) -> None:
    """Start the log of this process again when it has grown large: a process may run for years."""
    with suppress(OSError):  # a full disk: it goes on as it is
        state = (folder / LOG).stat()
        if state.st_size > LARGEST_LOG_BYTES and os.path.samestat(state, os.fstat(1)):
            redirect(folder / LOG)
