"""A feed's rate is held before the log: a file waits, a camera sheds."""

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


async def test_what_a_camera_shows_beyond_its_rate_is_shed_and_counted() -> None:
    clock = ManualClock()
    offers = [one async for one in rate_limited(pictures(clock, 1000, 0.01), 5, clock, sheds=True)]
    kept = sum(isinstance(one, Picture) for one in offers)
    assert 50 <= kept <= 56, "ten seconds at five a second, and the burst of one second"
    assert kept + sum(one.count for one in offers if isinstance(one, Shed)) == 1000


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


async def test_what_is_no_picture_passes() -> None:
    async def refused() -> AsyncGenerator[Offer, None]:
        for _ in range(10):
            yield Refusal("a", "unreadable_image", "no picture")

    assert len([one async for one in rate_limited(refused(), 1, ManualClock(), sheds=True)]) == 10
