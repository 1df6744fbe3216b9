"""The index process: `python -m stores.edge.index_process FOLDER [--detach] [SETTINGS]` serves one index folder.

The process that holds the lock on `index.lock` is the index process. A second one ends at once, with success, because
the folder is served. The file holds the process id. SETTINGS is the JSON of `EdgeSettings`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import sys
from pathlib import Path

from stores.edge.process_files import LOCK, LOG, redirect

READY = b"ready"
CRASHES = (signal.SIGALRM, signal.SIGABRT, signal.SIGBUS, signal.SIGSEGV, signal.SIGILL, signal.SIGFPE)
"""Signals by which a process ends itself, SIGALRM when a shard takes too long to open; people send others."""
LEAST_FREE_BYTES = 1 << 20
"""With less, a process that ended without a word ended because the disk is full: it could not even write its log."""
LEAST_MAPPED_BYTES = 64 << 20
"""Edge makes files of 32 MiB as it opens a shard, and maps them: without room for one the process ends by SIGBUS."""


def main(arguments: list[str]) -> int:
    detach = "--detach" in arguments
    folder, settings = [*(argument for argument in arguments if argument != "--detach"), "{}"][:2]
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = elect(path)
    except OSError as error:
        sys.stdout.buffer.write(_described(path, error))
        return 1
    if lock is None:
        return 0
    if detach:
        return _detached(path, lock, settings)
    return serve(path, lock, settings, None)


def elect(folder: Path) -> int | None:
    """The lock's open file descriptor if this process is now the folder's index process, None if another is."""
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    os.ftruncate(lock, 0)  # the last process's id is not this one's
    return lock


def _detached(folder: Path, lock: int, settings: str) -> int:
    """Serve in a child without a terminal; return when it listens, or print why it cannot. The exit status."""
    reading, writing = os.pipe()
    if child := os.fork():
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            report = pipe.read()
        if report == READY:
            return 0
        sys.stdout.buffer.write(report or _silent_end(folder, os.waitpid(child, 0)[1]))
        return 1
    os.close(reading)
    os.setsid()
    try:
        redirect(folder / LOG)
        status = serve(folder, lock, settings, writing)
    except OSError as error:
        _report(writing, _described(folder, error))
        status = 1
    os._exit(status)


def _silent_end(folder: Path, status: int) -> bytes:
    """What to say of a process that could not say why it ended: it crashed, or the disk is full."""
    free = shutil.disk_usage(folder).free
    is_full = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGBUS and free < LEAST_MAPPED_BYTES
    if not is_full and os.WIFSIGNALED(status) and os.WTERMSIG(status) in CRASHES:
        return _crashed(folder, signal.Signals(os.WTERMSIG(status)))
    if is_full or free < LEAST_FREE_BYTES:
        return _described(folder, OSError(errno.ENOSPC, ""))
    return f"StoreUnavailable the index process ended at once, see {folder / LOG}".encode()


def _crashed(folder: Path, how: signal.Signals) -> bytes:
    """Mark the shard that was being opened, so that the next process opens the others alone."""
    from stores.edge import catalog, file_sums

    try:
        shard = folder / (folder / catalog.OPENING).read_text()
        catalog.crash_mark(shard).touch()
    except OSError:
        return f"StoreUnavailable the index process crashed ({how.name}), see {folder / LOG}".encode()
    cause = f"the index process ended as it opened {shard} ({how.name}): its files are damaged"
    return f"Damaged {cause}; {file_sums.WAY_OUT}".encode()


def _described(folder: Path, error: OSError) -> bytes:
    """An error as the process that waits reads it: its class and its message."""
    from stores.errors import store_unavailable

    described = store_unavailable(f"the index {folder}", error)
    return f"{type(described).__name__} {described}".encode(errors="replace")


def serve(folder: Path, lock: int, settings: str, ready: int | None) -> int:
    """Serve until stopped or idle; return the exit status.

    `ready` is a pipe that receives READY, or the error's class and message.
    """
    # Imported by the elected process alone: the others, and the one that only waits for it, end sooner.
    import asyncio

    import msgspec

    from stores.edge.index_server import run
    from stores.edge.settings import EdgeSettings
    from stores.errors import StoreError

    os.pwrite(lock, str(os.getpid()).encode(), 0)
    try:
        asyncio.run(run(folder, msgspec.json.decode(settings, type=EdgeSettings), lambda: _report(ready, READY)))
    except StoreError as error:
        _report(ready, f"{type(error).__name__} {error}".encode())
        print(error, file=sys.stderr)
        return 1
    return 0


def _report(ready: int | None, message: bytes) -> None:
    if ready is not None:
        os.write(ready, message)
        os.close(ready)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
