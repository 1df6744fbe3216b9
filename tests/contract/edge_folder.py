"""An embedded index's folder whose process is ended after the test."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def edge_folder(folder: Path) -> Iterator[Path]:
    """`folder` for an index; its process is ended, and waited for, on leaving."""
    try:
        yield folder
    finally:
        end(folder, signal.SIGTERM)


def process_id(folder: Path) -> int:
    """The index process of `folder`, which runs."""
    return int((folder / "index.lock").read_text())


def end(folder: Path, how: signal.Signals = signal.SIGKILL) -> None:
    """End the index process of `folder`, if one runs, and return when it has let go of its lock."""
    if not (folder / "index.lock").exists():
        return
    with (folder / "index.lock").open("r+") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                with suppress(ProcessLookupError, ValueError):
                    os.kill(process_id(folder), how)
                fcntl.flock(lock, fcntl.LOCK_EX)
            return
