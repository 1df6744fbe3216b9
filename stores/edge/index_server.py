"""The life of an elected index process: open, listen, flush, verify and rebuild beside the work, close."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from stores.edge import wire
from stores.edge.address import socket_path
from stores.edge.index_folder import IndexFolder
from stores.edge.process_files import LOCK, renew_log
from stores.edge.proof import Prover
from stores.edge.rebuilder import Rebuilder
from stores.edge.request_scheduler import RequestScheduler
from stores.edge.settings import EdgeSettings

_log = logging.getLogger("stores.edge")
TICK_SECONDS = 0.25
"""The interval of checks for a flush, a rebuild or the end."""


async def run(path: Path, settings: EdgeSettings, on_listening: Callable[[], None]) -> None:
    """Serve the index folder `path`, whose lock the caller holds, until SIGTERM or until it is idle.

    Calls `on_listening` once. Raises WrongLayout for a folder that is not an index's.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    lock = (path / LOCK).stat()
    folder = IndexFolder(path, settings.open_seconds)
    scheduler = RequestScheduler(folder, settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, scheduler.stopped.set)
    (path / wire.SOCKET).unlink(missing_ok=True)
    with socket_path(path) as address:
        server = await asyncio.start_unix_server(scheduler.connection, address, limit=wire.BUFFER_BYTES)
        (path / wire.SOCKET).chmod(0o600)
    on_listening()
    rebuilder = Rebuilder(scheduler)
    tasks = [asyncio.create_task(work) for work in (scheduler.work(), _tick(scheduler, rebuilder, lock))]
    stopping = asyncio.create_task(scheduler.stopped.wait())
    try:
        done, _ = await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
        for task in done - {stopping}:
            task.result()
    finally:
        _end_if_moved(path, lock)
        (path / wire.SOCKET).unlink(missing_ok=True)
        server.close()
        await _cancel(*tasks, stopping, *rebuilder.tasks, *scheduler.snapshots)
        for writer in list(scheduler.connected):
            writer.close()
        folder.close()


async def _tick(scheduler: RequestScheduler, rebuilder: Rebuilder, lock: os.stat_result) -> None:
    """Flush, verify and rebuild at regular intervals; return when the process is idle and nothing is left to do."""
    prover, flushed = Prover(scheduler.folder), time.monotonic()
    while True:
        await asyncio.sleep(TICK_SECONDS)
        _end_if_moved(scheduler.folder.folder, lock)
        now = time.monotonic()
        if now - flushed >= scheduler.settings.flush_seconds and not scheduler.writes_held:
            scheduler.folder.flush()
            renew_log(scheduler.folder.folder)
            flushed = now
        await prover.proceed(now)
        rebuilder.consider(now)
        idle = not scheduler.connected and not rebuilder.tasks and not scheduler.snapshots
        may_end = idle and now - scheduler.idle_since >= scheduler.settings.idle_seconds
        if may_end and not rebuilder.finish() and await prover.finish(scheduler):
            return


def _end_if_moved(folder: Path, lock: os.stat_result) -> None:
    """End at once where the folder was moved, removed or replaced: another process serves what is there now.

    This one would write to it by its path. Like any process that is killed, it loses nothing that it acknowledged.
    """
    try:
        is_moved = not os.path.samestat((folder / LOCK).stat(), lock)
    except OSError as error:
        is_moved = isinstance(error, FileNotFoundError)
    if is_moved:
        _log.error("%s was moved or replaced: its former index process ends", folder)
        os._exit(1)


async def _cancel(*tasks: asyncio.Task[object]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
