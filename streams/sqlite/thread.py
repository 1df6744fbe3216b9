"""The thread that talks to SQLite, so that the event loop never waits for a disk: it reads, and writes in groups.

While one transaction is being synchronised, the next jobs gather; they share the next transaction and its one fsync.
One thread for both, on one connection: Python's sqlite3 gives the interpreter lock away at every row, which two
threads that step at once hand to and fro; and what was just written is read from the connection's own cache.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from streams.errors import StreamError, Unavailable
from streams.sqlite.failures import translate
from streams.sqlite.file import connect

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], T]
"""Work inside a transaction. One that writes raises a StreamError only before its first write."""

GROUP_JOBS = 64
"""Jobs that share a transaction at most: bounds how long the first of them waits for the others."""

HEARING_SECONDS = 0.001
"""A transaction waits this long at most for those who were waiting for the one before: as a rule they write on, and
one transaction costs half of two."""

BUSY_SECONDS = 30.0
"""How long to wait for another process's transaction before the log counts as unavailable."""

BUSY_PAUSE_SECONDS = (0.0002, 0.002)
"""Between two tries for the write lock; SQLite's own waiting grows to 100 ms and starves one of two busy writers."""


@dataclass(slots=True)
class _Task:
    job: Job[Any]
    writes: bool
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None

    def resolve(self) -> None:
        """In the event loop."""
        if self.future.cancelled():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class LogThread:
    """Runs reading jobs each on one snapshot, and writing jobs in order, grouped into transactions; what a writing
    job wrote is durable when `write` returns. Neither kind waits for more than one turn of the other.

    Jobs raise what they raise; SQLite's errors become Unavailable, LogFull or DamagedLog.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handed_in: SimpleQueue[_Task | None] = SimpleQueue()  # a third of an executor's price
        self._reads: deque[_Task] = deque()
        self._writes: deque[_Task] = deque()
        self._open = True
        self._heard = threading.Event()
        self._heard.set()
        self._connection = connect(path, busy_seconds=0.0)
        self._thread = threading.Thread(target=self._work, name=f"log-{path.name}", daemon=True)
        self._thread.start()

    async def read(self, job: Job[T]) -> T:
        return await self._run(job, writes=False)

    async def write(self, job: Job[T]) -> T:
        return await self._run(job, writes=True)

    def close(self) -> None:
        """Finish what was handed in, then let go of the file. Blocks: call it in a thread."""
        self._handed_in.put(None)
        self._thread.join()

    async def _run(self, job: Job[T], *, writes: bool) -> T:
        loop = asyncio.get_running_loop()
        task = _Task(job, writes, loop, loop.create_future())
        self._handed_in.put(task)
        result: T = await task.future
        return result

    def _work(self) -> None:
        while self._open or self._reads or self._writes:
            if not (self._reads or self._writes):
                self._sort(self._handed_in.get())
            self._answer_reads()
            if self._writes:
                self._heard.wait(HEARING_SECONDS)
                self._take()
                group = [self._writes.popleft() for _ in range(min(len(self._writes), GROUP_JOBS))]
                self._transact(group)
                self._heard.clear()
                group[0].loop.call_soon_threadsafe(self._resolve, group)
            self._take()
        self._connection.close()

    def _take(self) -> None:
        """What has been handed in meanwhile."""
        with suppress(Empty):
            while True:
                self._sort(self._handed_in.get_nowait())

    def _sort(self, task: _Task | None) -> None:
        if task is None:
            self._open = False
        else:
            (self._writes if task.writes else self._reads).append(task)

    def _answer_reads(self) -> None:
        self._take()
        while self._reads:
            task = self._reads.popleft()
            try:
                task.result = self._once_free(partial(self._snapshot, task.job))
            except Exception as error:
                task.error = self._translated(error)
            task.loop.call_soon_threadsafe(task.resolve)
        self._take()

    def _snapshot(self, job: Job[T]) -> T:
        self._connection.execute("BEGIN")
        try:
            return job(self._connection)
        finally:
            self._connection.execute("COMMIT")

    def _transact(self, group: Sequence[_Task]) -> None:
        """Run a group as one transaction; if that fails, each job alone, so that only the one at fault fails."""
        try:
            self._begin()
            self._write(group)
            self._connection.execute("COMMIT")
        except Exception as error:
            self._roll_back()
            for task in group:
                task.error = None
            if len(group) == 1 or isinstance(error, Unavailable):
                for task in group:
                    task.error = self._translated(error)
            else:
                for task in group:
                    self._transact([task])

    def _write(self, group: Sequence[_Task]) -> None:
        for task in group:
            try:
                task.result = task.job(self._connection)
            except StreamError as error:
                task.error = error

    def _begin(self) -> None:
        """Take the write lock. While another process has it, reads go on."""
        self._once_free(lambda: self._connection.execute("BEGIN IMMEDIATE"), meanwhile=self._answer_reads)

    def _once_free(self, action: Callable[[], T], meanwhile: Callable[[], None] = lambda: None) -> T:
        """Readers too are refused while another process recovers the log or, as the last one, closes it."""
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                return action()
            except sqlite3.OperationalError as error:
                if not error.sqlite_errorname.startswith("SQLITE_BUSY"):
                    raise
                if time.monotonic() > deadline:
                    raise Unavailable(f"{self._path}: another process has been writing for {BUSY_SECONDS} s") from error
            meanwhile()
            time.sleep(random.uniform(*BUSY_PAUSE_SECONDS))

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            with suppress(sqlite3.Error):  # the error that led here is the one to report
                self._connection.execute("ROLLBACK")

    def _translated(self, error: Exception) -> Exception:
        return (translate(error, self._path) or error) if isinstance(error, sqlite3.Error) else error

    def _resolve(self, group: Sequence[_Task]) -> None:
        """In the event loop."""
        for task in group:
            task.resolve()
        # Comes after those who waited for the group: what they write next has been handed in by then.
        group[0].loop.call_soon(self._heard.set)
