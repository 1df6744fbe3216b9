"""Files with holes: blocks of zeros take no space. Edge's files are mapped ahead, and mostly such blocks when new."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

CHUNK_BYTES = 1 << 20
BLOCK_BYTES = 4096
"""Of most file systems; a hole is at least one."""
ZEROS = bytes(CHUNK_BYTES)


def copy_sparse(source: str, target: str) -> str:
    """Copy a file; blocks of zeros take no space."""
    with Path(source).open("rb") as reading, Path(target).open("wb") as writing:
        while chunk := reading.read(CHUNK_BYTES):
            write_sparse(writing, chunk)
        writing.truncate()
    return target


def write_sparse(file: BinaryIO, chunk: bytes) -> None:
    """Write at the position of a new file, `CHUNK_BYTES` at most; the caller truncates the file at its end."""
    if chunk == ZEROS[: len(chunk)]:
        file.seek(len(chunk), os.SEEK_CUR)
        return
    start = 0
    for at in range(0, len(chunk), BLOCK_BYTES):
        end = min(at + BLOCK_BYTES, len(chunk))
        if chunk[at:end] == ZEROS[: end - at]:
            file.write(chunk[start:at])
            file.seek(end - at, os.SEEK_CUR)
            start = end
    file.write(chunk[start:])
