"""Runs a blocking generator beside the event loop, one chunk ahead of whoever consumes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


async def in_thread(blocking: Generator[T, None, None], chunk: int) -> AsyncGenerator[list[T], None]:
    """Lists of up to `chunk` values, in order. The generator runs in one thread of its own and is closed there."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, thread_name_prefix="source") as thread:
        ahead = loop.run_in_executor(thread, _take, blocking, chunk)
        try:
            while taken := await asyncio.shield(ahead):
                ahead = loop.run_in_executor(thread, _take, blocking, chunk)
                yield taken
        finally:
            await asyncio.wait([ahead])
            ahead.exception()
            await loop.run_in_executor(thread, blocking.close)


def _take(blocking: Generator[T, None, None], chunk: int) -> list[T]:
    return list(islice(blocking, chunk))
