"""Starts the index process: a client calls this when it finds none."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import msgspec

from stores import errors
from stores.edge.settings import EdgeSettings

START_SECONDS = 120.0
"""The longest wait for a process to listen; a long write-ahead log is replayed before it does."""

KNOWN: dict[str, type[errors.StoreError]] = {
    error.__name__: error
    for error in (
        errors.StoreUnavailable,
        errors.StoreBlocked,
        errors.Damaged,
        errors.Refused,
        errors.Missing,
        errors.WrongLayout,
    )
}


async def launch(folder: Path, settings: EdgeSettings) -> None:
    """Start the index process of `folder` unless one runs; returns when it listens, or another is elected.

    Raises WrongLayout for a folder that is not an index's, StoreBlocked for a disk that is full or may not be written,
    Damaged for files that cannot be read, StoreUnavailable when it cannot start for another reason.
    """
    await asyncio.to_thread(_launch, folder, settings)


def _launch(folder: Path, settings: EdgeSettings) -> None:
    root = str(Path(errors.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
    command = [
        sys.executable,
        "-m",
        "stores.edge.index_process",
        str(folder),
        "--detach",
        msgspec.json.encode(settings).decode(),
    ]
    try:
        completed = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=START_SECONDS,
            check=False,
            start_new_session=True,  # Ctrl-C on the terminal is for the command, not for the index of other commands
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise errors.StoreUnavailable(f"the index process of {folder} does not start: {error}") from error
    if completed.returncode:
        kind, _, message = completed.stdout.decode(errors="replace").partition(" ")
        raise store_error(kind, message or completed.stderr.decode(errors="replace"))


def store_error(kind: str, message: str) -> errors.StoreError:
    """The error that the index process reported by its class's name."""
    return KNOWN.get(kind, errors.StoreUnavailable)(message)
