"""The rate of a feed is limited before the log: a file waits, a camera sheds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from streams.clock import ManualClock
from streams.sources.rate_limit import rate_limited
from streams.sources.source import Offer, Picture, Refusal, Shed


async def pictures(clock: ManualClock, count: int, apart_seconds: float) -> AsyncGenerator[Offer, None]:
    for number in range(count):
        clock.advance(apart_seconds)
        yield Picture(f"p{number}", b"x", "jpeg")


async def test_frames_of_a_camera_beyond_its_rate_are_shed_and_counted() -> None:
    clock = ManualClock()
    offers = [offer async for offer in rate_limited(pictures(clock, 1000, 0.01), 5, clock, sheds=True)]
    kept = sum(isinstance(offer, Picture) for offer in offers)
    assert 50 <= kept <= 56, "ten seconds at five a second, and the burst of one second"
    assert kept + sum(offer.count for offer in offers if isinstance(offer, Shed)) == 1000


async def test_a_source_that_can_wait_loses_nothing() -> None:
    clock, taken = ManualClock(), list[Offer]()

    async def take() -> None:
        async for offer in rate_limited(pictures(clock, 20, 0.0), 5, clock, sheds=False):
            taken.append(offer)

    taking = asyncio.create_task(take())
    while not taking.done():
        while not clock.sleepers and not taking.done():
            await asyncio.wait([taking], timeout=0.001)
        clock.advance(0.2)
    assert len(taken) == 20
    assert clock.monotonic() >= 3.0, "five come at once, fifteen take three seconds"


async def test_refusals_are_not_limited() -> None:
    async def refused() -> AsyncGenerator[Offer, None]:
        for _ in range(10):
            yield Refusal("a", "unreadable_image", "no picture")

    assert len([offer async for offer in rate_limited(refused(), 1, ManualClock(), sheds=True)]) == 10
