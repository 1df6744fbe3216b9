"""The life of an elected index process: open, listen, flush and optimise beside the work, close."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Callable
from pathlib import Path

from stores.edge import wire
from stores.edge.address import socket_path
from stores.edge.listener import Listener
from stores.edge.optimise import Optimiser
from stores.edge.service import Service
from stores.edge.settings import EdgeSettings

TICK_SECONDS = 0.25
"""How often it is looked whether to flush, optimise or end."""


async def run(folder: Path, settings: EdgeSettings, listening: Callable[[], None]) -> None:
    """Serve `folder`, whose lock the caller holds, until SIGTERM or nobody needs it. Calls `listening` once.

    Raises WrongLayout for a folder that is not ours.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    service = Service(folder)
    listener = Listener(service, settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, listener.stopped.set)
    (folder / wire.SOCKET).unlink(missing_ok=True)
    with socket_path(folder) as path:
        server = await asyncio.start_unix_server(listener.connection, path, limit=wire.BUFFER_BYTES)
        (folder / wire.SOCKET).chmod(0o600)
    listening()
    optimiser = Optimiser(listener)
    tasks = [asyncio.create_task(work) for work in (listener.work(), _tick(listener, optimiser))]
    stopping = asyncio.create_task(listener.stopped.wait())
    try:
        done, _ = await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
        for task in done - {stopping}:
            task.result()
    finally:
        (folder / wire.SOCKET).unlink(missing_ok=True)
        server.close()
        await _cancel(*tasks, stopping, *optimiser.tasks)
        for writer in list(listener.connected):
            writer.close()
        service.close()


async def _tick(listener: Listener, optimiser: Optimiser) -> None:
    """What happens by the clock; ends when the process is no longer needed."""
    flushed = time.monotonic()
    while True:
        await asyncio.sleep(TICK_SECONDS)
        now = time.monotonic()
        if now - flushed >= listener.settings.flush_seconds and not listener.writes_held:
            listener.service.flush()
            flushed = now
        optimiser.consider(now)
        idle = not listener.connected and not optimiser.tasks
        if idle and now - listener.idle_since >= listener.settings.idle_seconds:
            return


async def _cancel(*tasks: asyncio.Task[object]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
