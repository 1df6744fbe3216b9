"""A limit on the frames per second of one feed: fairness among feeds is enforced before the log, not behind it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from streams.clock import Clock
from streams.sources.source import Offer, Picture, Shed

BURST_SECONDS = 1.0
"""The unused rate of this time may be used at once."""


async def rate_limited(
    offers: AsyncGenerator[Offer, None], frames_per_second: float, clock: Clock, *, sheds: bool
) -> AsyncGenerator[Offer, None]:
    """The same offers; pictures beyond the rate wait for their turn, or with `sheds` become `Shed`."""
    max_tokens = max(1.0, frames_per_second * BURST_SECONDS)
    tokens, refilled = max_tokens, clock.monotonic()
    async with aclosing(offers):
        async for offer in offers:
            if isinstance(offer, Picture):
                now = clock.monotonic()
                tokens, refilled = min(max_tokens, tokens + (now - refilled) * frames_per_second), now
                if tokens < 1 and sheds:
                    yield Shed(1)
                    continue
                if tokens < 1:
                    await clock.sleep((1 - tokens) / frames_per_second)
                tokens -= 1
            yield offer
