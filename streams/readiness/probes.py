"""Asks at an interval whether what an idle process does not use is still there, so that its readiness says so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date
from functools import partial

from stores.blobs import BlobStore, blob_uri
from stores.errors import StoreError, StoreUnavailable
from stores.index import Index
from streams.clock import Clock
from streams.errors import PlanError, StreamError, Unavailable
from streams.retry import Retry
from streams.transport import TopicSpec, Transport

PROBE_SECONDS = 2.0
TOPICS_PROBE_SECONDS = 10.0
BLOB_PROBE_SECONDS = 30.0
"""An object store charges for each request."""
ANSWER_SECONDS = 5.0
"""What does not answer for this long is away. With the pause it is less than the time limit of a request to a broker
by default, 30 s."""

NO_POINT = "00000000-0000-0000-0000-000000000000"
NO_BLOB = blob_uri("default", "probe", date(1970, 1, 1), "0" * 64)
AWAY = (StreamError, StoreUnavailable, TimeoutError)

Ask = Callable[[], Awaitable[object]]


class Probes:
    """Each method runs until it is cancelled; meanwhile `retry` tells what does not answer."""

    def __init__(self, clock: Clock, retry: Retry) -> None:
        self._clock, self._retry = clock, retry

    async def broker(self, transport: Transport, topic: str) -> None:
        await self._repeat("broker", partial(transport.ends, topic), PROBE_SECONDS)

    async def topics(self, transport: Transport, started_with: Mapping[str, TopicSpec], names: Sequence[str]) -> None:
        """Whether these topics still are what the process started with."""
        known = {name: started_with[name].partitions for name in names if name in started_with}
        await self._repeat("topics", partial(_compare, transport, known), TOPICS_PROBE_SECONDS)

    async def index(self, index: Index, collection: str) -> None:
        await self._repeat("index", partial(index.get, collection, [NO_POINT]), PROBE_SECONDS)

    async def blobs(self, blobs: BlobStore) -> None:
        await self._repeat("blobs", partial(blobs.get, "default", NO_BLOB), BLOB_PROBE_SECONDS)

    async def _repeat(self, what: str, ask: Ask, every_seconds: float) -> None:
        while True:
            await self._retry.forever(what, partial(_answered, ask), AWAY)
            await self._clock.sleep(every_seconds)


async def _compare(transport: Transport, known: Mapping[str, int]) -> None:
    """Raises PlanError for topics that were deleted or have another number of partitions."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            present = await transport.topics()
    except (Unavailable, TimeoutError):
        return  # the probe of the broker tells it
    changes = [
        f"topic {name} {'was deleted' if name not in present else f'has {present[name].partitions} partitions now'};"
        f" this process started when it had {partitions} (docs/runbook.md, Topics that changed)"
        for name, partitions in known.items()
        if name not in present or present[name].partitions != partitions
    ]
    if changes:
        raise PlanError(changes)


async def _answered(ask: Ask) -> None:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await ask()
    except TimeoutError:
        raise TimeoutError(f"no answer in {ANSWER_SECONDS:g} s") from None
    except StoreUnavailable:
        raise
    except StoreError:
        return  # it is there, and says what it lacks
