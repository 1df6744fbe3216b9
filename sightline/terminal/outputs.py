"""Files that a command writes: checked before the work, written in one place."""

from __future__ import annotations

from pathlib import Path

from sightline.terminal.options import CommandError


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


def _cannot_write(path: Path, error: OSError) -> CommandError:
    return CommandError(f"{path} cannot be written: {error.strerror or error}; choose another file")
