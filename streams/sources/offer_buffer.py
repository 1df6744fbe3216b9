"""The buffer between a source and the log: bounded in pictures and bytes, taken in batches that grow under load."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

from streams.sources.source import Offer, Picture


class OfferBuffer:
    """The source puts offers and closes; the reader takes until it gets nothing. The source's error is raised last."""

    def __init__(self, max_offers: int, max_bytes: int) -> None:
        self._max_offers = max_offers
        self._max_bytes = max_bytes
        self._waiting: deque[Offer] = deque()
        self._bytes = 0
        self._closed = False
        self._error: Exception | None = None
        self._changed = asyncio.Condition()

    def _has_room(self) -> bool:
        return not self._waiting or (len(self._waiting) < self._max_offers and self._bytes < self._max_bytes)

    async def put(self, offer: Offer) -> None:
        async with self._changed:
            await self._changed.wait_for(self._has_room)
            self._waiting.append(offer)
            self._bytes += _size_bytes(offer)
            self._changed.notify_all()

    async def close(self, error: Exception | None = None) -> None:
        async with self._changed:
            self._closed, self._error = True, error
            self._changed.notify_all()

    async def take(self) -> list[Offer]:
        """All waiting offers, at least one; empty at the end. Raises the source's error."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._waiting or self._closed)
            taken = list(self._waiting)
            self._waiting.clear()
            self._bytes = 0
            self._changed.notify_all()
        if not taken and self._error is not None:
            raise self._error
        return taken


def _size_bytes(offer: Offer) -> int:
    return len(offer.content) if isinstance(offer, Picture) else 0


@asynccontextmanager
async def buffered(
    offers: AsyncGenerator[Offer, None], max_offers: int, max_bytes: int
) -> AsyncGenerator[OfferBuffer, None]:
    """A buffer that a task fills from `offers`; leaving the context stops and closes the source."""
    buffer = OfferBuffer(max_offers, max_bytes)
    filling = asyncio.create_task(_fill(buffer, offers), name="source")
    try:
        yield buffer
    finally:
        filling.cancel()
        await asyncio.gather(filling, return_exceptions=True)


async def _fill(buffer: OfferBuffer, offers: AsyncGenerator[Offer, None]) -> None:
    try:
        async with aclosing(offers):
            async for offer in offers:
                await buffer.put(offer)
    except Exception as error:
        await buffer.close(error)
    else:
        await buffer.close()
