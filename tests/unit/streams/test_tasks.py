"""Work that a stop may interrupt, and calls that the end of the process does not wait for."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from streams.tasks import in_daemon_thread, unless_stopped


async def test_work_is_done_unless_the_stop_comes_first() -> None:
    stopping, closed = asyncio.Event(), asyncio.Event()

    async def done() -> int:
        return 7

    async def endless() -> int:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            closed.set()
        return 0

    async def faulty() -> int:
        raise ValueError("a fault")

    assert await unless_stopped(stopping, done()) == 7
    with pytest.raises(ValueError, match="a fault"):
        await unless_stopped(stopping, faulty())
    working = asyncio.create_task(unless_stopped(stopping, endless()))
    await asyncio.sleep(0)
    stopping.set()
    assert await working is None
    assert closed.is_set(), "it is closed before the stop goes on"


async def test_a_cancelled_wait_cancels_the_work() -> None:
    cancelled = asyncio.Event()

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    working = asyncio.create_task(unless_stopped(asyncio.Event(), endless()))
    await asyncio.sleep(0)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert cancelled.is_set()


async def test_a_thread_gives_its_result_or_its_error() -> None:
    def fault() -> None:
        raise OSError("a fault")

    assert await in_daemon_thread(threading.get_ident) != threading.get_ident()
    with pytest.raises(OSError, match="a fault"):
        await in_daemon_thread(fault)


def test_a_call_that_blocks_does_not_hold_up_the_end() -> None:
    program = """
import asyncio, threading
from streams.tasks import in_daemon_thread
async def main():
    call = asyncio.create_task(in_daemon_thread(threading.Event().wait))
    await asyncio.sleep(0.05)
    call.cancel()
asyncio.run(main())
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=30, check=False).returncode == 0
