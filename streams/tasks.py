"""Tasks that belong together: the first failure is reported, and all of them end with one call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


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
