"""What the deployment sees: cameras, and a folder of stills.

Every picture carries a mark in its bytes, and in what events and points say of it: a search through all files of a data
folder finds what is left of it.
"""

from __future__ import annotations

import random
import re
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from datetime import datetime
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


class Pictures:
    """Numbered pictures; each is another one, with its number in a comment of the JPEG."""

    def __init__(self) -> None:
        self.made = 0

    def picture(self) -> bytes:
        self.made += 1
        content, text = scene(self.made % SCENES), mark(self.made).encode()
        return content[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + content[2:]


@cache
def scene(number: int) -> bytes:
    """A JPEG of some 20 KB: blurred noise and a circle."""
    noise = np.random.default_rng(number).integers(0, 255, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    pixels = np.ascontiguousarray(cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR))
    cv2.circle(pixels, (WIDTH // 2, HEIGHT // 2), HEIGHT // 4, (0, 0, 255), -1)
    return bytes(cv2.imencode(".jpg", pixels)[1].tobytes())


def mark(number: int) -> str:
    return f"sightline-year-{number:08d}"


def number_in(content: bytes) -> int:
    """The number of a picture."""
    found = MARK.search(content)
    assert found is not None
    return int(found[1])


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
            position = live_position(self.session, pts)
            origin = mark(number_in(content))
            yield Picture(position, content, "jpeg", WIDTH, HEIGHT, 90, captured=self.captured, origin=origin)


class Shelf:
    """A folder of stills, of which a tenth is replaced every night."""

    def __init__(self, folder: Path, stills: int, pictures: Pictures) -> None:
        self.folder, self._stills, self._pictures = folder, stills, pictures
        self._random = random.Random(7)
        folder.mkdir()

    def replace_some(self) -> None:
        stills = sorted(self.folder.iterdir())
        for still in self._random.sample(stills, len(stills) // 10):
            still.unlink()
        for _ in range(self._stills - len(list(self.folder.iterdir()))):
            content = self._pictures.picture()
            (self.folder / f"{self._pictures.made:08d}.jpg").write_bytes(content)
