"""Whether everything accepted so far is done."""

from __future__ import annotations

import asyncio

from rich.console import Console

from sightline.wiring.parts import Parts
from streams.lifecycle.deletions import Deletions

LOOK_SECONDS = 0.2


async def left(parts: Parts) -> int:
    """Records that some segment of the plan has not finished."""
    plan, prefix = parts.plan, parts.config.worker.group
    lags = [
        await parts.transport.group_lag(plan.group(prefix, number), [plan.topic_into(number)])
        for number in range(len(plan.segments))
    ]
    return sum(sum(lag.values()) for lag in lags)


async def caught_up(parts: Parts) -> None:
    """Return once nothing is left and what was to be forgotten is erased, whoever works on it."""
    deletions = Deletions(parts.transport)
    while await left(parts) or await _unerased(deletions):  # noqa: ASYNC110 - other processes finish the work
        await asyncio.sleep(LOOK_SECONDS)


async def _unerased(deletions: Deletions) -> int:
    await deletions.catch_up()
    return len(deletions.pending)


async def shown_until_caught_up(parts: Parts, console: Console) -> None:
    """`caught_up`, saying meanwhile how much is left."""
    with console.status("") as status:
        done = asyncio.create_task(caught_up(parts))
        while not done.done():
            status.update(f"{', '.join(parts.plan.stages)}: {await left(parts)} frames left")
            await asyncio.wait([done], timeout=0.5)
        await done
