"""Where stages run: a pool of threads for `cpu`, one thread for `gpu`, and the order of batches between them.

The event loop never computes. Each lane takes two calls at a time, one that runs and one that waits behind it, so
that the GPU's thread finds its next batch without asking the loop, and no more than that piles up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

from processors.stage import Lane

DEPTH = 2
"""Calls per lane: one runs, one waits behind it."""
Ts = TypeVarTuple("Ts")
T = TypeVar("T")


class Lanes:
    def __init__(self, cpu_threads: int) -> None:
        self._pools = {
            "cpu": ThreadPoolExecutor(cpu_threads, thread_name_prefix="lane-cpu"),
            "gpu": ThreadPoolExecutor(1, thread_name_prefix="lane-gpu"),
        }
        self._room = {"cpu": asyncio.Semaphore(cpu_threads + DEPTH - 1), "gpu": asyncio.Semaphore(DEPTH)}

    async def run(self, lane: Lane, call: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run `call` in a thread of the lane. When this is cancelled, a call that has begun still runs to its end."""
        async with self._room[lane]:
            return await asyncio.get_running_loop().run_in_executor(self._pools[lane], call, *args)

    def close(self) -> None:
        """Begin nothing more. Does not wait: a stage that hangs must not hold up the exit."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)


class Turns:
    """Lets batches pass one point in the order of their numbers (0, 1, 2 …), one at a time.

    Stages with memory need each feed's frames in order, sinks keep the order of events, and batches may overtake
    each other everywhere else. Every number must leave, also that of a batch which failed.
    """

    def __init__(self) -> None:
        self._next = 0
        self._left: set[int] = set()
        self._waiting: dict[int, asyncio.Future[None]] = {}

    async def enter(self, number: int) -> None:
        if number > self._next:
            turn = self._waiting[number] = asyncio.get_running_loop().create_future()
            try:
                await turn
            finally:
                del self._waiting[number]

    def leave(self, number: int) -> None:
        """May be called twice, and before `enter`, for a batch that will not come."""
        if number < self._next:
            return
        self._left.add(number)
        while self._next in self._left:
            self._left.remove(self._next)
            self._next += 1
        turn = self._waiting.get(self._next)
        if turn is not None and not turn.done():
            turn.set_result(None)
