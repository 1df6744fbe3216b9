"""Between a source and the log: bounded in pictures and bytes, taken in batches that grow under load."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

from streams.sources.source import Offer, Picture


class Buffer:
    """One side puts and closes, the other takes until it gets nothing; an error of the source comes out last."""

    def __init__(self, most_offers: int, most_bytes: int) -> None:
        self._most_offers = most_offers
        self._most_bytes = most_bytes
        self._waiting: deque[Offer] = deque()
        self._bytes = 0
        self._closed = False
        self._error: Exception | None = None
        self._changed = asyncio.Condition()

    def _room(self) -> bool:
        return not self._waiting or (len(self._waiting) < self._most_offers and self._bytes < self._most_bytes)

    async def put(self, offer: Offer) -> None:
        async with self._changed:
            await self._changed.wait_for(self._room)
            self._waiting.append(offer)
            self._bytes += _size(offer)
            self._changed.notify_all()

    async def close(self, error: Exception | None = None) -> None:
        async with self._changed:
            self._closed, self._error = True, error
            self._changed.notify_all()

    async def take(self) -> list[Offer]:
        """All there is, at least one; empty at the end. Raises what the source raised."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._waiting or self._closed)
            taken = list(self._waiting)
            self._waiting.clear()
            self._bytes = 0
            self._changed.notify_all()
        if not taken and self._error is not None:
            raise self._error
        return taken


def _size(offer: Offer) -> int:
    return len(offer.content) if isinstance(offer, Picture) else 0


@asynccontextmanager
async def buffered(
    offers: AsyncGenerator[Offer, None], most_offers: int, most_bytes: int
) -> AsyncGenerator[Buffer, None]:
    """A buffer that `offers` fill meanwhile; leaving it stops and closes the source."""
    buffer = Buffer(most_offers, most_bytes)
    filling = asyncio.create_task(_fill(buffer, offers), name="source")
    try:
        yield buffer
    finally:
        filling.cancel()
        await asyncio.gather(filling, return_exceptions=True)


async def _fill(buffer: Buffer, offers: AsyncGenerator[Offer, None]) -> None:
    try:
        async with aclosing(offers):
            async for offer in offers:
                await buffer.put(offer)
    except Exception as error:
        await buffer.close(error)
    else:
        await buffer.close()
