"""Pictures that are given as files on the command line."""

from __future__ import annotations

from pathlib import Path

from processors.headers import Unreadable
from search.models import Pixels
from search.uploads import decode_upload
from sightline.terminal.options import UsageError


def read_picture(path: Path) -> Pixels:
    """Upright RGB. Raises UsageError, naming the file."""
    try:
        return decode_upload(path.read_bytes())
    except (OSError, Unreadable) as error:
        raise UsageError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
