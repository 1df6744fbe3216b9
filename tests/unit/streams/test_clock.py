"""The clock that tests own."""

from __future__ import annotations

import asyncio

from streams.clock import ManualClock, Signal


async def test_sleepers_wake_in_order_when_time_is_advanced() -> None:
    clock, woken = ManualClock(), []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    tasks = [asyncio.create_task(sleeper(seconds)) for seconds in (3.0, 1.0, 2.0)]
    await asyncio.sleep(0)
    assert clock.sleepers == 3
    clock.advance(2.5)
    await asyncio.sleep(0)
    assert woken == [1.0, 2.0]
    clock.advance(0.5)
    await asyncio.gather(*tasks)
    assert (woken, clock.monotonic()) == ([1.0, 2.0, 3.0], 3.0)


async def test_a_signal_ends_a_wait_and_so_does_the_time() -> None:
    clock = ManualClock()
    signal = Signal(clock)
    by_time = asyncio.create_task(signal.wait(1.0))
    for _ in range(3):
        await asyncio.sleep(0)
    clock.advance(1.0)
    await asyncio.wait_for(by_time, 10)
    by_signal = asyncio.create_task(signal.wait(1.0))
    for _ in range(3):
        await asyncio.sleep(0)
    signal.set()
    await asyncio.wait_for(by_signal, 10)
    await asyncio.wait_for(signal.wait(), 10)
