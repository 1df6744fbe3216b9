"""Tasks that belong together: the first failure is reported, and all of them end with one call.

`unless_stopped` is for work that a stop may interrupt at any point.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar, cast

T = TypeVar("T")


class Tasks:
    """`failed` is called once, with the first error of any task; `failure` keeps it."""

    def __init__(self, failed: Callable[[BaseException], None]) -> None:
        self._failed = failed
        self._running: set[asyncio.Task[None]] = set()
        self.failure: BaseException | None = None

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` beside the others."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)

    async def cancel(self) -> None:
        """End every task; none runs afterwards."""
        while self._running:
            for task in self._running:
                task.cancel()
            # repeatedly: in Python 3.11 `wait_for` loses a cancellation that comes as its future ends
            await asyncio.wait(self._running, timeout=0.1)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and self.failure is None:
            self.failure = error
            self._failed(error)


async def unless_stopped(stopping: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """The result of `work`; None if `stopping` is set before it is done: then it is cancelled. Raises what it raises.

    `work` that is cancelled may take its time to close what it has opened.
    """
    working, stopped = asyncio.ensure_future(work), asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait((working, stopped), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        return None
    finally:
        stopped.cancel()
        working.cancel()
        await asyncio.wait((working,))
        if not working.cancelled():
            working.exception()  # asyncio would print one that was not retrieved


async def in_daemon_thread(call: Callable[[], T]) -> T:
    """As `asyncio.to_thread`, for a call that may block for long: the end of the process does not wait for it."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: BaseException | None) -> None:
        if result.cancelled():
            return
        if error is not None:
            result.set_exception(error)
        else:
            result.set_result(cast("T", value))

    def run() -> None:
        value, error = None, None
        try:
            value = call()
        except BaseException as raised:
            error = raised
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, value, error)

    threading.Thread(target=run, name="daemon-call", daemon=True).start()
    return await result
