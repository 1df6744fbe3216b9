"""A folder for an embedded index, whose process is ended after the test."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from stores.edge.process_files import LOCK

DEADLINE_SECONDS = 60.0


@contextmanager
def edge_folder(folder: Path) -> Iterator[Path]:
    """`folder` for an index; on exit its process is ended and waited for."""
    try:
        yield folder
    finally:
        end(folder, signal.SIGTERM)


async def until(condition: Callable[[], Any]) -> None:
    """Return when `condition` (a function or a coroutine function) holds. Raises TimeoutError at the deadline."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            holds = condition()
            if await holds if asyncio.iscoroutine(holds) else holds:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), 0.01)


def process_id(folder: Path) -> int:
    """The id of the running index process of `folder`."""
    return int((folder / LOCK).read_text())


def end(folder: Path, how: signal.Signals = signal.SIGKILL) -> None:
    """End the index process of `folder`, if one runs, and return when its lock is free.

    The signal is repeated until then: a process may hold the lock before it has written its id, and a worker may start
    another process as soon as the lock is free.
    """
    if not (folder / LOCK).exists():
        return
    deadline = time.monotonic() + DEADLINE_SECONDS
    with (folder / LOCK).open("r+") as lock:
        while not _locked(lock):
            assert time.monotonic() < deadline, f"the index process of {folder} does not end"
            with suppress(ProcessLookupError, ValueError):
                os.kill(process_id(folder), how)
            time.sleep(0.01)


def _locked(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
