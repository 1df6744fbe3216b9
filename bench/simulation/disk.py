"""What a data folder takes on the disk, part by part, and of which pictures a byte is left in it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path

from bench.simulation.pictures import MARK

BLOCK_BYTES = 512
"""Unit of `st_blocks`."""
LOOK_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class DiskUse:
    """Bytes on the disk, folders included."""

    log: int = 0
    pictures: int = 0
    index: int = 0
    whole: int = 0
    """The data folder, whatever is in it."""

    def most(self, other: DiskUse) -> DiskUse:
        """The larger of each."""
        return DiskUse(*map(max, astuple(self), astuple(other)))


def disk_use(data: Path) -> DiskUse:
    log = sum(taken_bytes(data / f"log.sqlite{suffix}") for suffix in ("", "-wal", "-shm"))
    return DiskUse(log, taken_bytes(data / "blobs"), taken_bytes(data / "index"), taken_bytes(data))


def taken_bytes(path: Path) -> int:
    """As `du` counts; others may add and remove files meanwhile."""
    total = _blocks(path)
    for root, folders, names in os.walk(path):
        total += sum(_blocks(f"{root}/{name}") for name in (*folders, *names))
    return total


def _blocks(path: Path | str) -> int:
    with suppress(FileNotFoundError):
        return os.lstat(path).st_blocks * BLOCK_BYTES
    return 0


class DiskWatch:
    """Looks at a data folder all the time, in a thread of its own; `most` is the most that each part ever took."""

    def __init__(self, data: Path) -> None:
        self._data, self._stopped = data, threading.Event()
        self.most = DiskUse()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(LOOK_SECONDS):
            self.most = self.most.most(disk_use(self._data))


def numbers_below(folder: Path) -> set[int]:
    """The numbers of the pictures of which some file below `folder` holds the mark."""
    numbers: set[int] = set()
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root, name)
            with suppress(FileNotFoundError):
                if path.is_file():
                    numbers.update(int(number) for content in _written(path) for number in MARK.findall(content))
    return numbers


def _written(path: Path) -> Iterator[bytes]:
    """What is written of a file, without its holes: the index's write-ahead logs are almost empty."""
    with path.open("rb") as file:
        end = 0
        while True:
            try:
                begin = os.lseek(file.fileno(), end, os.SEEK_DATA)
            except OSError:
                return
            end = os.lseek(file.fileno(), begin, os.SEEK_HOLE)
            yield os.pread(file.fileno(), end - begin, begin)
