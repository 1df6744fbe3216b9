"""What is published: small numbered pictures of stills and two cameras, some with a fate of their own.

The history keeps every acknowledgement.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from schemas import topics
from schemas.identity import partition_key
from streams.errors import LogFull, Unavailable
from streams.transport import NewRecord, Transport
from tests.nemesis.history import History
from tests.support.deployment import PICTURE
from tests.support.fault_stages import commented
from tests.support.picture_headers import picture_headers
from tests.support.pictures import encoded

BATCH = 20
RETRY_SECONDS = 0.2
LARGE = encoded(np.random.default_rng(2).integers(0, 256, (480, 640, 3), np.uint8), quality=85)
"""Noise, about 300 KB, to fill memory."""
FEEDS = ("stills", "lobby", "door")
Mix = Mapping[str, int]
"""Fate to the number of frames in a thousand that have it; the others have none."""


def fate(number: int, mix: Mix) -> str:
    """Evenly spread, and the same for the same number."""
    rest = number * 617 % 1000
    for name, share in mix.items():
        if rest < share:
            return name
        rest -= share
    return "ok"


def picture(number: int, mix: Mix, content: bytes = PICTURE) -> NewRecord:
    feed = FEEDS[number % 3]
    kind = "still" if feed == "stills" else "frame"
    headers = picture_headers(f"/tests/{feed}", str(number), content_type="image/jpeg", kind=kind)
    key = str(number).encode() if kind == "still" else partition_key("default", feed)
    return NewRecord(topics.RAW, key, commented(content, f"{fate(number, mix)}#{number}"), headers)


@dataclass
class Workload:
    transport: Transport
    history: History
    mix: Mix = field(default_factory=dict)
    content: bytes = PICTURE
    accepted: int = 0
    refused: int = 0
    """Attempts that were not acknowledged and were repeated."""
    fates: Counter[str] = field(default_factory=Counter)
    _streaming: asyncio.Task[None] | None = None
    _numbers: int = 0

    async def accept(self, count: int) -> None:
        """Publish `count` frames, each batch until it is acknowledged."""
        while count > 0:
            numbers = range(self._numbers, self._numbers + min(count, BATCH))
            self._numbers += len(numbers)
            count -= len(numbers)
            await self._until_acknowledged([picture(number, self.mix, self.content) for number in numbers])
            self.accepted += len(numbers)
            self.fates.update(fate(number, self.mix) for number in numbers)

    def stream(self, frames_per_second: float) -> None:
        self._ending = asyncio.Event()
        self._streaming = asyncio.create_task(self._stream(frames_per_second))

    async def stop(self) -> None:
        """End the stream once the batch under way is acknowledged."""
        if self._streaming is not None:
            streaming, self._streaming = self._streaming, None
            self._ending.set()
            await streaming

    async def _stream(self, frames_per_second: float) -> None:
        while not self._ending.is_set():
            await self.accept(BATCH)
            await asyncio.wait([asyncio.ensure_future(self._ending.wait())], timeout=BATCH / frames_per_second)

    async def _until_acknowledged(self, records: Sequence[NewRecord]) -> None:
        while True:
            try:
                await self.transport.publish(records)
            except (LogFull, Unavailable):
                self.refused += 1
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self.history.accepted(records)
                return
