"""Several calls at once, with their results in the order of the inputs, and a bound on how far calls run ahead."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

S = TypeVar("S")
T = TypeVar("T")


async def map_concurrently(
    inputs: AsyncIterator[S], call: Callable[[S], Awaitable[T]], concurrency: int
) -> AsyncGenerator[tuple[S, T], None]:
    """Each input with its result; at most `concurrency` calls run or wait for an earlier one.

    A result is yielded as soon as it and all earlier ones are there, even while no further input has arrived. Closed
    early, it cancels running calls and waits for their end. The error of a call is raised in the place of its result.
    """
    running: deque[tuple[S, asyncio.Future[T]]] = deque()
    next_input: asyncio.Future[S] | None = None
    exhausted = False
    try:
        while True:
            if next_input is None and not exhausted and len(running) < concurrency:
                next_input = asyncio.ensure_future(_next(inputs))
            pending = [future for future in (next_input, running[0][1] if running else None) if future is not None]
            if not pending:
                return
            await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            if next_input is not None and next_input.done():
                arrived, next_input = next_input, None
                try:
                    running.append((value := arrived.result(), asyncio.ensure_future(call(value))))
                except StopAsyncIteration:
                    exhausted = True
            while running and running[0][1].done():
                value, result = running.popleft()
                yield value, result.result()
    finally:
        unfinished: list[asyncio.Future[Any]] = [
            *(future for _, future in running),
            *([next_input] if next_input is not None else []),
        ]
        for future in unfinished:
            future.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)


async def _next(inputs: AsyncIterator[S]) -> S:
    return await anext(inputs)
