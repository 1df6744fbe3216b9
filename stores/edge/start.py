"""Starting the index process, by whoever finds none."""

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
"""A process that replays a long write-ahead log listens late; one that takes longer than this is not waited for."""


async def start(folder: Path, settings: EdgeSettings) -> None:
    """Start the index process of `folder` unless one runs; returns when it listens, or another is elected.

    Raises WrongLayout for a folder that is not ours, StoreUnavailable for whatever else keeps it from starting.
    """
    await asyncio.to_thread(_start, folder, settings)


def _start(folder: Path, settings: EdgeSettings) -> None:
    ours = str(Path(errors.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [ours, os.environ.get("PYTHONPATH")]))}
    command = [
        sys.executable,
        "-m",
        "stores.edge.process",
        str(folder),
        "--detach",
        msgspec.json.encode(settings).decode(),
    ]
    try:
        ended = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=START_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise errors.StoreUnavailable(f"the index process of {folder} does not start: {error}") from error
    if ended.returncode:
        kind, _, message = ended.stdout.decode(errors="replace").partition(" ")
        raise store_error(kind, message or ended.stderr.decode(errors="replace"))


def store_error(kind: str, message: str) -> errors.StoreError:
    """The error that the index process told by its class's name."""
    known = {error.__name__: error for error in errors.StoreError.__subclasses__()}
    return known.get(kind, errors.StoreUnavailable)(message)
