"""The index process's connections and the order of their requests.

Edge holds the interpreter's lock while it works, so one thread does everything: requests wait in two queues, reads
before writes, and one is answered at a time. Between two answers the event loop serves the sockets.
"""

from __future__ import annotations

import asyncio
import logging
import time
from asyncio import StreamReader, StreamWriter
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from stores.edge import wire
from stores.edge.index_folder import IndexFolder
from stores.edge.salvage import salvage
from stores.edge.settings import EdgeSettings
from stores.edge.snapshot import snapshot
from stores.errors import StoreError, store_unavailable

READS_IN_A_ROW = 8
"""Reads overtake waiting writes (a search waits for one batch at most); after this many, one write is done."""
WAITING_PER_CONNECTION = 16
"""Requests read from one connection before the first is answered; the rest wait in the socket."""
HELD_SECONDS = 30.0
"""A client that holds writes back after a snapshot does so for milliseconds; it may hang."""
_log = logging.getLogger("stores.edge")


class Waiting(NamedTuple):
    """A request that is not answered yet, and where its answer goes."""

    call: wire.Call
    writer: StreamWriter
    slots: asyncio.Semaphore
    """Released when the request is answered."""


class Held(NamedTuple):
    """A snapshot that is answered and still holds writes, until `released` is set or its client is gone."""

    folder: str
    writer: StreamWriter
    released: asyncio.Event


class RequestScheduler:
    """Reads requests from all connections and answers them one at a time."""

    def __init__(self, folder: IndexFolder, settings: EdgeSettings) -> None:
        self.folder = folder
        self.settings = settings
        self.writes_held = False
        """True while shards are copied: the copy has to be consistent."""
        self.copying = asyncio.Lock()
        """Held by what copies or exchanges shards: one at a time."""
        self.snapshots: set[asyncio.Task[None]] = set()
        self._held: Held | None = None
        self.stopped = asyncio.Event()
        self.connected: set[StreamWriter] = set()
        self.idle_since = time.monotonic()
        self._reads: deque[Waiting] = deque()
        self._writes: deque[Waiting] = deque()
        self._flushes: deque[Waiting] = deque()
        self._wake = asyncio.Event()

    async def connection(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Read requests of one client until it disconnects."""
        self.connected.add(writer)
        slots = asyncio.Semaphore(WAITING_PER_CONNECTION)
        try:
            while (body := await wire.read(reader)) is not None:
                await slots.acquire()
                self._enqueue(Waiting(wire.call(body), writer, slots))
                await writer.drain()
        except ConnectionError:
            pass
        except msgspec.MsgspecError as error:
            _log.warning("connection closed, it does not follow the protocol: %s", error)
        finally:
            self.connected.discard(writer)
            if self._held is not None and self._held.writer is writer:
                self._held.released.set()
            self.idle_since = time.monotonic()
            writer.close()

    def _enqueue(self, waiting: Waiting) -> None:
        match waiting.call.request:
            case wire.Flush():
                self._flushes.append(waiting)
            case wire.Snapshot():
                self._snapshot(waiting, waiting.call.request)
            case wire.Release():
                self._reply(waiting, partial(self._release, waiting.call.request.folder))
            case wire.Salvage():
                self._begin(self._salvage(waiting))
            case wire.Ensure() | wire.Upsert() | wire.Delete() | wire.Remove():
                self._writes.append(waiting)
            case _:
                self._reads.append(waiting)
        self._wake.set()

    def release_writes(self) -> None:
        self.writes_held = False
        self._wake.set()

    async def work(self) -> None:
        """Answer waiting requests, one at a time; never returns."""
        reads = 0
        while True:
            writes = bool(self._writes or self._flushes) and not self.writes_held
            if self._reads and not (writes and reads >= READS_IN_A_ROW):
                reads += 1
                self._answer(self._reads.popleft())
            elif writes:
                reads = 0
                self._write()
            else:
                self._wake.clear()
                await self._wake.wait()
            await asyncio.sleep(0)

    def _write(self) -> None:
        """One write, or all waiting flushes: the writes they wait for are acknowledged already, so one serves all."""
        if not self._flushes:
            self._answer(self._writes.popleft())
            return
        waiting, self._flushes = self._flushes, deque()
        for flush in waiting:
            self._answer(flush)

    def _snapshot(self, waiting: Waiting, request: wire.Snapshot) -> None:
        """Answered when the copy is made; searches go on meanwhile."""
        self._begin(self._copy(waiting, request))

    def _begin(self, lasting: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(lasting)
        self.snapshots.add(task)
        task.add_done_callback(self.snapshots.discard)

    async def _copy(self, waiting: Waiting, request: wire.Snapshot) -> None:
        async with self.copying:
            self.writes_held = True
            try:
                copied = asyncio.create_task(snapshot(self.folder, Path(request.folder)))
                await asyncio.wait([copied])
                self._held = Held(request.folder, waiting.writer, asyncio.Event())
                self._reply(waiting, copied.result)
                if request.held and not copied.exception():
                    await self._until_released(self._held.released)
            finally:
                self._held = None
                self.release_writes()

    async def _until_released(self, released: asyncio.Event) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(HELD_SECONDS):
                await released.wait()

    def _release(self, folder: str) -> bool:
        if self._held is None or self._held.folder != folder or self._held.released.is_set():
            return False
        self._held.released.set()
        return True

    async def _salvage(self, waiting: Waiting) -> None:
        async with self.copying:
            salvaged = asyncio.create_task(salvage(self.folder))
            await asyncio.wait([salvaged])
        self._reply(waiting, salvaged.result)

    def _answer(self, waiting: Waiting) -> None:
        self._reply(waiting, lambda: self.folder.answer(waiting.call.request))

    def _reply(self, waiting: Waiting, answer: Callable[[], object]) -> None:
        number, request = waiting.call.number, waiting.call.request
        try:
            reply = wire.Reply(number, "", "", wire.result(answer()), self.folder.warning())
        except StoreError as error:
            reply = wire.Reply(number, type(error).__name__, str(error), wire.result(None))
        except Exception as error:
            _log.exception("%s failed", type(request).__name__)
            described = store_unavailable(f"the index: {type(error).__name__}", error)
            reply = wire.Reply(number, type(described).__name__, str(described), wire.result(None))
        waiting.slots.release()
        if not waiting.writer.is_closing():
            waiting.writer.write(wire.frame(reply))
