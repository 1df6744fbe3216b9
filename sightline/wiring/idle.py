"""Whether everything accepted so far is processed."""

from __future__ import annotations

import asyncio

from sightline.wiring.parts import Parts, group_topics
from streams.lifecycle.deletions import Deletions

POLL_SECONDS = 0.2


async def left(parts: Parts) -> int:
    """Records that some segment of the plan has not finished."""
    lags = [await parts.transport.group_lag(group, topics) for group, topics in group_topics(parts.config).items()]
    return sum(sum(lag.values()) for lag in lags)


async def describe_left(parts: Parts) -> str:
    """A status line for people."""
    frames = await left(parts)
    return f"{', '.join(parts.plan.stages)}: {frames} {'frame' if frames == 1 else 'frames'} left"


async def caught_up(parts: Parts) -> None:
    """Return once no record is left and every requested deletion is applied, by whichever process."""
    deletions = Deletions(parts.transport)
    while await left(parts) or await _unapplied(deletions):  # noqa: ASYNC110 - other processes finish the work
        await asyncio.sleep(POLL_SECONDS)


async def _unapplied(deletions: Deletions) -> int:
    await deletions.catch_up()
    return len(deletions.pending)
