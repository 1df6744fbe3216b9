"""The part of `bench.log` that measures whether a long backlog makes the embedded log slower."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from uuid import uuid4

from bench.embedded.work import BATCH, Quiet, consume, events, key_of, make_log, publish
from bench.report import in_turns, median_ratio
from streams.sqlite.transport import SqliteTransport
from streams.transport import Position

COST_BATCHES = 30
"""Fewer than the short backlog holds."""
COST_ROUNDS = 3
"""Rounds of this part per round of the others: they take a tenth of a second and vary by a tenth."""


async def published(path: Path) -> float:
    """Seconds per event for publishing on top of the backlog."""
    transport = SqliteTransport(path)
    await transport.open()
    batch = events([key_of(partition, 8) for partition in range(8)], BATCH)
    begun = time.perf_counter()
    await publish(transport, batch, COST_BATCHES)
    seconds = time.perf_counter() - begun
    await transport.close()
    return seconds / (BATCH * COST_BATCHES)


async def consumed(path: Path) -> float:
    """Seconds per event for polling and committing, from a random position in the backlog."""
    transport = SqliteTransport(path)
    await transport.open()
    group = uuid4().hex
    count = BATCH * COST_BATCHES
    ends = await transport.ends("events")
    consumer = await transport.consumer(group, ["events"], Quiet())
    await consumer.keep_alive()
    room = min(following for _, following in ends.values()) - count // 8
    start = random.randint(0, max(0, room))
    await consumer.commit({partition: Position(start) for partition in ends}, consumer.assignment())
    await consumer.close()
    consumer = await transport.consumer(group, ["events"], Quiet())
    await consumer.keep_alive()
    begun = time.perf_counter()
    await consume(consumer, count)
    seconds = time.perf_counter() - begun
    await consumer.close()
    await transport.forget(group)
    await transport.close()
    return seconds / count


def long_over_short(folder: Path, rounds: int, backlog: int) -> dict[str, float]:
    short, long, copy = folder / "short.sqlite", folder / "long.sqlite", folder / "copy.sqlite"
    asyncio.run(make_log(short, 8, 10_000))
    asyncio.run(make_log(long, 8, backlog))

    def on_copy(measure: Callable[[], float]) -> float:
        """Measure on a copy, synced to disk before the first transaction, so that the short log stays short."""
        shutil.copy(short, copy)
        with copy.open("rb") as file:
            os.fsync(file.fileno())
        seconds = measure()
        copy.unlink()
        return seconds

    seconds = in_turns(
        rounds,
        publish_short=lambda: on_copy(lambda: asyncio.run(published(copy))),
        publish_long=lambda: asyncio.run(published(long)),
        consume_short=lambda: on_copy(lambda: asyncio.run(consumed(copy))),
        consume_long=lambda: asyncio.run(consumed(long)),
    )
    return {
        "publish": round(median_ratio(seconds["publish_long"], seconds["publish_short"]), 4),
        "consume": round(median_ratio(seconds["consume_long"], seconds["consume_short"]), 4),
        **{f"{name}_microseconds": round(1e6 * median(values), 2) for name, values in seconds.items()},
    }
