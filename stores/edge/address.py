"""The socket's address. A Unix socket's path holds 107 bytes; a data folder's path may be longer."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stores.edge.wire import SOCKET

LONGEST_BYTES = 100
"""Linux allows 107, macOS 103; both count the bytes of the path as given."""


@contextmanager
def socket_path(folder: Path) -> Iterator[str]:
    """A path of the index process's socket that is short enough, through a temporary link where necessary."""
    path = str(folder / SOCKET)
    if len(os.fsencode(path)) <= LONGEST_BYTES:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="sl-") as short:
        link = Path(short) / "x"
        link.symlink_to(folder.resolve(), target_is_directory=True)
        yield str(link / SOCKET)
