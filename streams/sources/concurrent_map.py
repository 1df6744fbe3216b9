"""Several at once, told in order: what came first is yielded first, and only so many run ahead of it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

S = TypeVar("S")
T = TypeVar("T")


async def ahead(
    asked: AsyncIterator[S], answer: Callable[[S], Awaitable[T]], at_once: int
) -> AsyncGenerator[tuple[S, T], None]:
    """What was asked with its answer, at most `at_once` of them in the making or waiting for an earlier one.

    An answer is yielded as soon as it and all before it are there, whether or not more is asked. Closed early, it
    cancels what runs and waits for its end. An answer's error is raised in its place.
    """
    running: deque[tuple[S, asyncio.Future[T]]] = deque()
    coming: asyncio.Future[S] | None = None
    over = False
    try:
        while True:
            if coming is None and not over and len(running) < at_once:
                coming = asyncio.ensure_future(_next(asked))
            awaited = [future for future in (coming, running[0][1] if running else None) if future is not None]
            if not awaited:
                return
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
            if coming is not None and coming.done():
                done, coming = coming, None
                try:
                    running.append((one := done.result(), asyncio.ensure_future(answer(one))))
                except StopAsyncIteration:
                    over = True
            while running and running[0][1].done():
                first, answered = running.popleft()
                yield first, answered.result()
    finally:
        left: list[asyncio.Future[Any]] = [
            *(future for _, future in running),
            *([coming] if coming is not None else []),
        ]
        for future in left:
            future.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _next(asked: AsyncIterator[S]) -> S:
    return await anext(asked)
