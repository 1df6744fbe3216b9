"""A client's connection to the index process: requests are repeated, also to a new process, until they are answered."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from asyncio import Future, StreamReader, StreamWriter, Task
from pathlib import Path
from typing import NamedTuple

import msgspec

from stores.edge import wire
from stores.edge.address import socket_path
from stores.edge.catalog import OPENING
from stores.edge.launcher import launch, store_error
from stores.edge.process_files import LOCK
from stores.edge.read_only import ReadOnlyCopy, may_be_read
from stores.edge.settings import EdgeSettings
from stores.errors import Refused, StoreBlocked, StoreError, StoreUnavailable, WrongLayout, store_unavailable

_log = logging.getLogger("stores.edge")
MIN_WAIT_SECONDS = 0.02
MAX_WAIT_SECONDS = 2.0


CHANGES = wire.Writing | wire.Compact | wire.Salvage


class InFlight(NamedTuple):
    """A request that is not answered yet."""

    frame: bytes
    answer: Future[msgspec.Raw]
    changes: bool
    """Whether it changes the index."""


class Connection:
    """Requests in flight by number, in the order they were made, and the task that keeps a connection for them.

    After a lost connection they are sent again in that order, before newer ones: a repeated old write never overwrites
    a newer one. Belongs to one event loop.
    """

    def __init__(self, folder: Path, settings: EdgeSettings) -> None:
        self._folder = folder
        self._settings = settings
        self._number = 0
        self._in_flight: dict[int, InFlight] = {}
        self._copy: ReadOnlyCopy | None = None
        self._requested = asyncio.Event()
        self._writer: StreamWriter | None = None
        self._task: Task[None] | None = None
        self._cause = "it does not answer"
        self._warning = ""
        self._wait_seconds = MIN_WAIT_SECONDS

    async def call(self, request: wire.Request, timeout_seconds: float | None = None) -> msgspec.Raw:
        """The result of `request`. Raises what the index process raised, and StoreUnavailable after the timeout."""
        if self._task is None:
            self._task = asyncio.create_task(self._keep())
        self._number += 1
        number, frame = self._number, wire.frame(wire.Call(self._number, request))
        if len(frame) > wire.LARGEST_BYTES:
            raise Refused(f"a request of {len(frame)} bytes: at most {wire.LARGEST_BYTES} are sent")
        answer: Future[msgspec.Raw] = asyncio.get_running_loop().create_future()
        if self._copy is not None and isinstance(request, CHANGES):
            raise self._copy.refusal()
        self._in_flight[number] = InFlight(frame, answer, isinstance(request, CHANGES))
        self._requested.set()
        try:
            async with asyncio.timeout(timeout_seconds or self._settings.call_timeout_seconds):
                await self._send(frame)
                return await answer
        except TimeoutError:
            raise StoreUnavailable(f"the index at {self._folder} is unavailable: {self._cause}") from None
        finally:
            del self._in_flight[number]

    async def close(self) -> None:
        """Disconnect; requests in flight fail with StoreUnavailable."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        self._fail(StoreUnavailable("the index was closed"))
        if self._copy is not None:
            self._folder = self._copy.original
            copy, self._copy = self._copy, None
            await asyncio.to_thread(copy.remove)

    async def _send(self, frame: bytes) -> None:
        """A lost connection does not fail the call: the request is sent again."""
        if self._writer is not None:
            with contextlib.suppress(ConnectionError):
                self._writer.write(frame)
                await self._writer.drain()

    async def _keep(self) -> None:
        """Connect when something is in flight, read replies until the connection is lost, and again."""
        while True:
            await self._until_requested()
            try:
                reader, writer = await self._connect()
            except (OSError, StoreError) as error:
                await self._not_connected(error)
            else:
                await self._read_replies(reader, writer)

    async def _not_connected(self, error: OSError | StoreError) -> None:
        """Before the next attempt; calls in flight wait for it, but not where only a person can help."""
        cause = error if isinstance(error, StoreError) else store_unavailable(f"the index {self._folder}", error)
        self._cause = str(cause)
        if isinstance(cause, WrongLayout | StoreBlocked):
            self._fail(cause)
        await self._wait()

    async def _until_requested(self) -> None:
        while not self._in_flight:
            self._requested.clear()
            await self._requested.wait()

    async def _connect(self) -> tuple[StreamReader, StreamWriter]:
        try:
            return await self._open()
        except (FileNotFoundError, ConnectionError):
            await self._launch()
        try:
            return await self._open()
        except FileNotFoundError as error:
            raise StoreUnavailable(_not_listening(self._folder)) from error

    async def _launch(self) -> None:
        """Start the index process; of a folder that may not be written, on a copy of it."""
        try:
            await launch(self._folder, self._settings)
        except StoreBlocked:
            if self._copy is not None or not may_be_read(self._folder):
                raise
            self._copy = await asyncio.to_thread(ReadOnlyCopy, self._folder)
            self._folder = self._copy.folder
            self._fail(self._copy.refusal(), changes=True)
            await launch(self._folder, self._settings)

    async def _open(self) -> tuple[StreamReader, StreamWriter]:
        with socket_path(self._folder) as path:
            return await asyncio.open_unix_connection(path, limit=wire.BUFFER_BYTES)

    async def _read_replies(self, reader: StreamReader, writer: StreamWriter) -> None:
        writer.writelines([each.frame for each in self._in_flight.values() if not each.answer.done()])
        self._writer = writer
        try:
            while (body := await wire.read(reader)) is not None:
                self._wait_seconds = MIN_WAIT_SECONDS
                self._settle(wire.reply(body))
        except ConnectionError:
            pass
        finally:
            self._writer = None
            writer.close()
        self._cause = "its process ended"
        await self._wait()

    def _settle(self, reply: wire.Reply) -> None:
        in_flight = self._in_flight.get(reply.number)
        if in_flight is None or (answer := in_flight.answer).done():
            return
        if reply.warning and reply.warning != self._warning:
            self._warning = reply.warning
            _log.warning(reply.warning)
        if reply.error:
            answer.set_exception(store_error(reply.error, reply.message))
        else:
            answer.set_result(reply.result)

    def _fail(self, error: StoreError, *, changes: bool = False) -> None:
        """End the calls in flight, or only those that change the index."""
        for each in self._in_flight.values():
            if not each.answer.done() and (each.changes or not changes):
                each.answer.set_exception(type(error)(str(error)))

    async def _wait(self) -> None:
        """Exponential backoff with jitter; an answer resets it."""
        await asyncio.sleep(self._wait_seconds * (0.5 + random.random()))
        self._wait_seconds = min(2 * self._wait_seconds, MAX_WAIT_SECONDS)


def _not_listening(folder: Path) -> str:
    """An index process that replays a long write-ahead log opens a shard for a while."""
    text = f"process {_pid(folder)} holds the lock but does not listen"
    try:
        return f"{text}: it is opening {(folder / OPENING).read_text()}"
    except OSError:
        return text


def _pid(folder: Path) -> str:
    try:
        return (folder / LOCK).read_text() or "unknown"
    except OSError:
        return "unknown"
