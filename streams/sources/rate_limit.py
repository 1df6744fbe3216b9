"""At most so many frames a second of one feed: fairness among feeds is enforced before the log, not behind it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from streams.clock import Clock
from streams.sources.source import Offer, Picture, Shed

BURST_SECONDS = 1.0
"""What was not used for so long may come at once."""


async def limited(
    offers: AsyncGenerator[Offer, None], frames_per_second: float, clock: Clock, *, sheds: bool
) -> AsyncGenerator[Offer, None]:
    """The same offers: pictures that come too fast wait for their turn, or are shed where a source cannot wait."""
    most = max(1.0, frames_per_second * BURST_SECONDS)
    tokens, looked = most, clock.monotonic()
    async with aclosing(offers):
        async for offer in offers:
            if isinstance(offer, Picture):
                now = clock.monotonic()
                tokens, looked = min(most, tokens + (now - looked) * frames_per_second), now
                if tokens < 1 and sheds:
                    yield Shed(1)
                    continue
                if tokens < 1:
                    await clock.sleep((1 - tokens) / frames_per_second)
                tokens -= 1
            yield offer
