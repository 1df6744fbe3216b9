"""Pictures that are given as files on the command line."""

from __future__ import annotations

import re
from pathlib import Path

from processors.headers import Unreadable
from search.models import Pixels
from search.uploads import decode_upload
from sightline.terminal.options import UsageError

URL = re.compile(r"([a-z][a-z0-9+.-]+):/", re.IGNORECASE)
"""How an address begins once `Path` has folded its slashes."""


def read_picture(path: Path) -> Pixels:
    """Upright RGB. Raises UsageError, naming the file."""
    if (address := URL.match(str(path))) is not None:
        raise UsageError(f"{address[1]}://… is an address, not a file: download the picture and give the file's path")
    try:
        if path.exists() and not path.is_file():  # opening a named pipe would wait for its writer
            raise UsageError(f"{path}: not a regular file; give a picture")
        return decode_upload(path.read_bytes())
    except (OSError, Unreadable) as error:
        raise UsageError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
