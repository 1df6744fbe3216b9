"""Checksums of a shard's files, valid while nothing is written: damage is detected before Edge opens the files.

`SHARD.sums` lies beside the shard folder. It is written when the shard is closed or has been quiet, and removed before
the first write after that. A shard without one was not closed: its points are verified one by one instead.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import msgspec
from msgspec import Struct

from stores.errors import Damaged
from stores.folder_sync import sync_folder

SUFFIX = ".sums"
FLUSHED = ".flushed"
"""`SHARD.flushed` holds the number of points at the last flush, as long as none was deleted since."""
BLOCK_BYTES = 1 << 16
ZEROS = bytes(BLOCK_BYTES)
JSON = ".json"
"""Edge writes these files again when it opens or closes a shard, with their keys in any order: their content is
compared.
"""
WAY_OUT = "run `sightline repair`"


class FileSums(Struct, frozen=True):
    files: dict[str, tuple[int, int]]
    """The size and the checksum of each file, by its path below the shard folder."""
    points: int
    checksum: int = 0
    """Of this record itself, with 0 here."""


def path_of(shard: Path) -> Path:
    return shard.with_name(shard.name + SUFFIX)


def of_files(shard: Path, points: int) -> FileSums:
    """The record of the files of `shard`, to which everything is written."""
    return FileSums({name: _sum(shard / name) for name in _names(shard)}, points)


def write(shard: Path, sums: FileSums) -> None:
    new = path_of(shard).with_suffix(".new")
    new.write_bytes(msgspec.json.encode(msgspec.structs.replace(sums, checksum=_own(sums))))
    new.rename(path_of(shard))


def remove(shard: Path) -> None:
    """Durable: a record that came back after a power cut would blame files that were written since."""
    path = path_of(shard)
    if path.exists():
        path.unlink()
        sync_folder(path.parent)


def read(shard: Path) -> FileSums | None:
    """The record of `shard`; None if there is none. Raises Damaged for one that is damaged itself."""
    path = path_of(shard)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        sums = msgspec.json.decode(content, type=FileSums)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        sums = None
    if sums is None or sums.checksum != _own(msgspec.structs.replace(sums, checksum=0)):
        raise Damaged(f"{path} is damaged; {WAY_OUT}")
    return sums


def verify(shard: Path, sums: FileSums) -> None:
    """Raise Damaged naming the files that differ from `sums` or are missing."""
    damaged = [name for name, expected in sums.files.items() if _present(shard / name) != expected]
    if damaged:
        named = ", ".join(str(shard / name) for name in damaged[:3])
        more = f" and {len(damaged) - 3} more files" if len(damaged) > 3 else ""
        raise Damaged(f"{named}{more} {'is' if len(damaged) == 1 else 'are'} damaged; {WAY_OUT}")


def write_flushed(shard: Path, points: int) -> None:
    new = shard.with_name(shard.name + ".new")
    new.write_text(str(points))
    new.rename(shard.with_name(shard.name + FLUSHED))


def remove_flushed(shard: Path) -> None:
    shard.with_name(shard.name + FLUSHED).unlink(missing_ok=True)


def read_flushed(shard: Path) -> int:
    """The number of points that `shard` has at least; 0 if that is not known."""
    try:
        return int(shard.with_name(shard.name + FLUSHED).read_text())
    except (OSError, ValueError):
        return 0


def allocated_bytes(folder: Path) -> int:
    """The space that the files of `folder` take on the disk; Edge's files are sparse."""
    return sum((folder / name).stat().st_blocks * 512 for name in _names(folder))


def _names(folder: Path) -> Iterator[str]:
    for root, _, names in os.walk(folder):
        for name in names:
            yield str((Path(root) / name).relative_to(folder))


def _own(sums: FileSums) -> int:
    return crc32(msgspec.json.encode(sums))


def _present(path: Path) -> tuple[int, int] | None:
    try:
        return _sum(path)
    except FileNotFoundError:
        return None


def _sum(path: Path) -> tuple[int, int]:
    if path.suffix == JSON:
        return 0, crc32(_canonical(path.read_bytes()))
    with path.open("rb", buffering=0) as file:
        size, checksum = os.fstat(file.fileno()).st_size, 0
        for at, block in _blocks(file.fileno(), size):
            checksum = crc32(block, crc32(at.to_bytes(8, "little"), checksum))
    return size, checksum


def _blocks(descriptor: int, size: int) -> Iterator[tuple[int, bytes]]:
    """The blocks that are not all zero, with their offsets: a hole and written zeros are the same content."""
    at = 0
    while at < size:
        try:
            at = max(at, os.lseek(descriptor, at, os.SEEK_DATA) // BLOCK_BYTES * BLOCK_BYTES)
        except OSError as error:
            if error.errno == errno.ENXIO:  # a hole up to the end
                return
            raise
        block = os.pread(descriptor, BLOCK_BYTES, at)
        if block != ZEROS[: len(block)]:
            yield at, block
        at += BLOCK_BYTES


def _canonical(content: bytes) -> bytes:
    try:
        return msgspec.json.encode(msgspec.json.decode(content), order="deterministic")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return content
