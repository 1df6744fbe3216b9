"""A world for `bench.year`: a clock that jumps from one quiet moment to the next, cameras, and a folder of stills.

Every picture carries a mark in its bytes, and in what events and points say of it: a search through all files of a data
folder finds what is left of it.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from schemas.events import Kind
from schemas.identity import live_position
from streams.sources.source import Offer, Picture, Seen

MARK = re.compile(rb"sightline-year-(\d{8})")
WIDTH, HEIGHT = 320, 240
SCENES = 16
DAY_SECONDS = 86_400.0


class JumpingClock:
    """Real time, and what was jumped over. A task that sleeps until a moment that is jumped over wakes."""

    def __init__(self, begin: datetime) -> None:
        self._begin, self._started = begin.timestamp(), time.monotonic()
        self._ahead = 0.0
        self.sleepers = 0
        """Tasks that are asleep: the periodic ones are, unless they are at work."""
        self._jumped = asyncio.Event()

    def now(self) -> float:
        return self._begin + self.monotonic()

    def monotonic(self) -> float:
        return time.monotonic() - self._started + self._ahead

    def boot(self) -> float:
        """Seconds since boot, which leases use."""
        return self._begin + self.monotonic()

    def jump(self, seconds: float) -> None:
        self._ahead += seconds
        jumped, self._jumped = self._jumped, asyncio.Event()
        jumped.set()

    async def sleep(self, seconds: float) -> None:
        deadline = self.monotonic() + seconds
        self.sleepers += 1
        try:
            while (left := deadline - self.monotonic()) > 0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._jumped.wait(), left)
        finally:
            self.sleepers -= 1


class Pictures:
    """Numbered pictures; each is another one, with its number in a comment of the JPEG."""

    def __init__(self) -> None:
        self.made = 0

    def picture(self) -> bytes:
        self.made += 1
        content, text = scene(self.made % SCENES), f"sightline-year-{self.made:08d}".encode()
        return content[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + content[2:]


@cache
def scene(number: int) -> bytes:
    """A JPEG of some 10 KB: blurred noise and a circle."""
    noise = np.random.default_rng(number).integers(0, 255, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    pixels = np.ascontiguousarray(cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR))
    cv2.circle(pixels, (WIDTH // 2, HEIGHT // 2), HEIGHT // 4, (0, 0, 255), -1)
    return bytes(cv2.imencode(".jpg", pixels)[1].tobytes())


def number_in(content: bytes) -> int:
    """The number of a picture."""
    found = MARK.search(content)
    assert found is not None
    return int(found[1])


def numbers_below(folder: Path) -> set[int]:
    """The numbers of the pictures of which some file below `folder` holds the mark."""
    numbers: set[int] = set()
    for path in files(folder):
        with suppress(FileNotFoundError):
            numbers.update(int(number) for number in MARK.findall(path.read_bytes()))
    return numbers


def files(folder: Path) -> Iterator[Path]:
    """Regular files below `folder`, or the file itself; others may come and go meanwhile."""
    if folder.is_file():
        yield folder
    for root, _, names in os.walk(folder):
        yield from (path for name in names if (path := Path(root, name)).is_file())


@dataclass(frozen=True)
class Camera:
    """A live source of a few frames."""

    session: str
    contents: Iterable[bytes]
    captured: datetime
    kind: Kind = "frame"
    repeatable: bool = False

    async def total(self) -> int | None:
        return None

    async def offers(self, seen: Seen) -> AsyncGenerator[Offer, None]:
        for pts, content in enumerate(self.contents):
            mark = f"sightline-year-{number_in(content):08d}"
            position = live_position(self.session, pts)
            yield Picture(position, content, "jpeg", WIDTH, HEIGHT, 90, captured=self.captured, origin=mark)


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def disk_bytes(path: Path) -> int:
    """What the files of a folder, or a file, take on the disk."""
    total = 0
    for each in files(path):
        with suppress(FileNotFoundError):
            total += each.lstat().st_blocks * 512
    return total
