"""The threads that use SQLite: one writes, with a group commit, one reads. The event loop never waits for a disk.

While one transaction is being synchronized, the next jobs queue up; they share the next transaction and its one fsync.
Python's sqlite3 releases the interpreter lock at every row: two threads that step at once pass it to and fro, which
costs more than the rows. So the threads take turns with a lock of their own, except while one waits for the disk.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from streams.errors import StreamError, Unavailable
from streams.sqlite.failures import translate
from streams.sqlite.log_file import WAL_MAX_BYTES, connect

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], T]
"""Work inside a write transaction. It raises a StreamError only before its first write."""

GROUP_JOBS = 64
"""Most jobs in one transaction: bounds how long the first of them waits for the others."""

BUSY_SECONDS = 30.0
"""How long to wait for another process's transaction before the log counts as unavailable."""

BUSY_PAUSE_SECONDS = (0.0001, 0.0003)
"""Pause between two attempts to get the write lock. SQLite's own pauses grow to 100 ms and starve one of two busy
writers; those of `streams.retry` need an event loop, which this thread does not have."""


@dataclass(slots=True)
class _Task:
    job: Job[Any]
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


class _Tasks:
    """Jobs from the event loop to a thread: a queue costs a third of an executor."""

    def __init__(self) -> None:
        self.queue: SimpleQueue[_Task | None] = SimpleQueue()

    async def run(self, job: Job[T]) -> T:
        loop = asyncio.get_running_loop()
        task = _Task(job, loop, loop.create_future())
        self.queue.put(task)
        result: T = await task.future
        return result


class Writer:
    """Runs jobs in order in a thread of its own, grouped into transactions; durable when `run` returns."""

    def __init__(self, path: Path, turns: threading.Lock, wal_bytes: int = WAL_MAX_BYTES) -> None:
        """`turns` is shared with the reader; `wal_bytes` is the room for the write-ahead log."""
        self._path, self._turns = path, turns
        self._tasks = _Tasks()
        self._unreported: list[_Task] = []
        self._thread = threading.Thread(target=self._work, name=f"log-writer-{path.name}", daemon=True)
        self._connection = connect(path, busy_seconds=0.0, wal_bytes=wal_bytes)
        self._thread.start()

    async def run(self, job: Job[T]) -> T:
        """Run `job` in a transaction. Raises what it raises; Unavailable, LogFull or DamagedLog for SQLite's errors."""
        return await self._tasks.run(job)

    def close(self) -> None:
        """Finish the jobs that were handed in, then close the file. Blocks: call it in a thread."""
        self._tasks.queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (task := self._next()) is not None:
            group = [task]
            self._transact(group, gather=True)
            self._unreported += group
        self._report()
        self._connection.close()

    def _next(self) -> _Task | None:
        try:
            return self._tasks.queue.get_nowait()
        except Empty:
            self._report()
            return self._tasks.queue.get()

    def _report(self) -> None:
        """Resolve the jobs whose transaction is durable.

        Where further jobs are queued, only after they have run: the event loop would wake up and take the interpreter
        lock from them, while it may have the lock when they wait for the disk.
        """
        if self._unreported:
            tasks, self._unreported = self._unreported, []
            tasks[0].loop.call_soon_threadsafe(self._resolve, tasks)

    def _gather(self, group: list[_Task]) -> None:
        """Add the jobs that are queued by now."""
        queue = self._tasks.queue
        with suppress(Empty):
            while len(group) < GROUP_JOBS:
                if (task := queue.get_nowait()) is None:
                    queue.put(None)  # close after this group
                    return
                group.append(task)

    def _transact(self, group: list[_Task], *, gather: bool = False) -> None:
        """Run a group as one transaction; if that fails, each job alone, so that only the faulty one fails.

        `gather` adds queued jobs once the write lock is held: another process may have held it for long.
        """
        try:
            self._begin(group)
            if gather:
                self._gather(group)
            with self._turns:
                self._run(group)
            self._report()
            self._connection.execute("COMMIT")
        except Exception as error:
            self._roll_back()
            self._report()
            for task in group:
                task.error = None
            if len(group) == 1 or isinstance(error, Unavailable):
                for task in group:
                    task.error = self._translated(error)
            else:
                for task in group:
                    self._transact([task])

    def _run(self, group: Sequence[_Task]) -> None:
        for task in group:
            try:
                task.result = task.job(self._connection)
            except StreamError as error:
                task.error = error

    def _begin(self, group: Sequence[_Task]) -> None:
        """Get the write lock. Raises Unavailable after a while, and as soon as no job of the group is waited for."""
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if not error.sqlite_errorname.startswith("SQLITE_BUSY"):
                    raise
                if time.monotonic() > deadline or all(task.future.cancelled() for task in group):
                    raise Unavailable(f"{self._path}: another process has been writing for {BUSY_SECONDS} s") from error
            self._report()
            time.sleep(random.uniform(*BUSY_PAUSE_SECONDS))

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            with suppress(sqlite3.Error):  # the error that led here is the one to report
                self._connection.execute("ROLLBACK")

    def _translated(self, error: Exception) -> Exception:
        return (translate(error, self._path) or error) if isinstance(error, sqlite3.Error) else error

    def _resolve(self, group: Sequence[_Task]) -> None:
        for task in group:
            task.resolve()


class Reader:
    """Runs read-only jobs in a thread of its own, each on one snapshot of the log."""

    def __init__(self, path: Path, turns: threading.Lock, *, read_only: bool = False) -> None:
        self.path, self._turns = path, turns
        self._tasks = _Tasks()
        self._thread = threading.Thread(target=self._work, name=f"log-reader-{path.name}", daemon=True)
        self._connection = connect(path, busy_seconds=BUSY_SECONDS, read_only=read_only)
        self._thread.start()

    async def run(self, job: Job[T]) -> T:
        """Raises what `job` raises; Unavailable or DamagedLog for SQLite's errors."""
        return await self._tasks.run(job)

    def close(self) -> None:
        """Blocks: call it in a thread."""
        self._tasks.queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (task := self._tasks.queue.get()) is not None:
            try:
                with self._turns:
                    task.result = self._snapshot(task.job)
            except sqlite3.Error as error:
                task.error = translate(error, self.path) or error
            except Exception as error:
                task.error = error
            task.loop.call_soon_threadsafe(task.resolve)
        self._connection.close()

    def _snapshot(self, job: Job[T]) -> T:
        self._connection.execute("BEGIN")
        try:
            return job(self._connection)
        finally:
            self._connection.execute("COMMIT")
