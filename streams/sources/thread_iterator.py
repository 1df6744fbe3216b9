"""Runs a blocking generator beside the event loop, one chunk ahead of its consumer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


async def iterate_in_thread(blocking: Generator[T, None, None], chunk_size: int) -> AsyncGenerator[list[T], None]:
    """Lists of up to `chunk_size` values, in order. The generator runs in a thread of its own and is closed there."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, thread_name_prefix="source") as thread:
        next_chunk = loop.run_in_executor(thread, _take, blocking, chunk_size)
        try:
            while chunk := await asyncio.shield(next_chunk):
                next_chunk = loop.run_in_executor(thread, _take, blocking, chunk_size)
                yield chunk
        finally:
            await asyncio.wait([next_chunk])
            next_chunk.exception()
            await loop.run_in_executor(thread, blocking.close)


def _take(blocking: Generator[T, None, None], chunk_size: int) -> list[T]:
    return list(islice(blocking, chunk_size))
