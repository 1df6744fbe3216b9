"""The index process's socket: connections, the order of the work, and when to end.

Edge holds the interpreter's lock while it works, so one thread does everything: requests wait in two queues, reads
before writes, and one is answered at a time. Between two answers the loop looks at the sockets.
"""

from __future__ import annotations

import asyncio
import logging
import time
from asyncio import StreamReader, StreamWriter
from collections import deque
from typing import NamedTuple

import msgspec

from stores.edge import wire
from stores.edge.service import Service
from stores.edge.settings import EdgeSettings
from stores.errors import StoreError

READS_IN_A_ROW = 8
"""Reads overtake waiting writes (a search waits for one batch at most); after so many a write has its turn."""
WAITING_PER_CONNECTION = 16
"""Requests taken from one connection before the first is answered; the rest wait in the socket."""
_log = logging.getLogger("stores.edge")


class Waiting(NamedTuple):
    call: wire.Call
    writer: StreamWriter
    room: asyncio.Semaphore


class Listener:
    def __init__(self, service: Service, settings: EdgeSettings) -> None:
        self.service = service
        self.settings = settings
        self.writes_held = False
        """True while a shard is copied: the copy has to be of one moment."""
        self.stopped = asyncio.Event()
        self.connected: set[StreamWriter] = set()
        self.idle_since = time.monotonic()
        self._reads: deque[Waiting] = deque()
        self._writes: deque[Waiting] = deque()
        self._flushes: deque[Waiting] = deque()
        self._wake = asyncio.Event()

    async def connection(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Take requests of one client until it leaves."""
        self.connected.add(writer)
        room = asyncio.Semaphore(WAITING_PER_CONNECTION)
        try:
            while (body := await wire.read(reader)) is not None:
                await room.acquire()
                self._enqueue(Waiting(wire.call(body), writer, room))
                await writer.drain()
        except ConnectionError:
            pass
        except msgspec.MsgspecError as error:
            _log.warning("a connection that does not speak our protocol: %s", error)
        finally:
            self.connected.discard(writer)
            self.idle_since = time.monotonic()
            writer.close()

    def _enqueue(self, waiting: Waiting) -> None:
        match waiting.call.request:
            case wire.Flush():
                self._flushes.append(waiting)
            case wire.Ensure() | wire.Upsert() | wire.Delete() | wire.Remove():
                self._writes.append(waiting)
            case _:
                self._reads.append(waiting)
        self._wake.set()

    def release_writes(self) -> None:
        self.writes_held = False
        self._wake.set()

    async def work(self) -> None:
        """Answer what waits, one at a time, for ever."""
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
        """One write; a flush serves all who wait for one, because what they wait for is acknowledged already."""
        if not self._flushes:
            self._answer(self._writes.popleft())
            return
        waiting, self._flushes = self._flushes, deque()
        for each in waiting:
            self._answer(each)

    def _answer(self, waiting: Waiting) -> None:
        number, request = waiting.call.number, waiting.call.request
        try:
            reply = wire.Reply(number, "", "", wire.result(self.service.answer(request)))
        except StoreError as error:
            reply = wire.Reply(number, type(error).__name__, str(error), wire.result(None))
        except Exception as error:
            _log.exception("%s failed", type(request).__name__)
            reply = wire.Reply(number, "StoreUnavailable", f"{type(error).__name__}: {error}", wire.result(None))
        waiting.room.release()
        if not waiting.writer.is_closing():
            waiting.writer.write(wire.frame(reply))
