"""Files that a command writes: checked before the work, written in one place."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sightline.terminal.options import CommandError
from streams.sources.source import Refusal


def check_output(path: Path) -> None:
    """Raises CommandError if a file cannot be written at `path`; nothing is left behind."""
    if path.exists() and not path.is_file() and not path.is_dir():
        return  # a device or a pipe: opening it would already be a write
    existed = path.exists()
    try:
        with path.open("ab"):
            pass
        if not existed:
            path.unlink()
    except OSError as error:
        raise _cannot_write(path, error) from None


def write_output(path: Path, content: bytes) -> None:
    """Raises CommandError, naming the file."""
    try:
        path.write_bytes(content)
    except OSError as error:
        raise _cannot_write(path, error) from None


@contextmanager
def refusals_to(path: Path | None) -> Iterator[Callable[[str, Refusal], None] | None]:
    """Writes refusals with their feed to a file as they come, one JSON object per line. Raises CommandError."""
    if path is None:
        yield None
        return
    try:
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        raise _cannot_write(path, error) from None
    with file:

        def write(feed: str, refusal: Refusal) -> None:
            fields = {"feed": feed, "name": refusal.name, "reason": refusal.reason, "message": refusal.message}
            file.write(json.dumps(fields) + "\n")

        yield write


def _cannot_write(path: Path, error: OSError) -> CommandError:
    return CommandError(f"{path} cannot be written: {error.strerror or error}; choose another file")
