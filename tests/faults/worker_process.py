"""A worker in a process of its own, to be killed. It stops on SIGTERM, and exits with 70 where a fault ends it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import msgspec

from processors.stage import AnyStage
from processors.stages.decode import Decode, DecodeSettings
from processors.stages.gate import Gate, GateSettings
from stores.edge.client import EdgeIndex
from stores.edge.settings import EdgeSettings
from stores.index import Point
from streams.sqlite.transport import SqliteTransport
from streams.transport import NewRecord
from tests.support.deployment import INDEX_IDLE_SECONDS, QUICK, deployed
from tests.support.fault_stages import Count, Fate, Vectors
from tests.support.forked import fork


class Options(msgspec.Struct, frozen=True, kw_only=True):
    stages: tuple[str, ...] = ("fate", "embed")
    atomic: bool = True
    """False: events are published first, offsets committed later."""
    dies: str = ""
    """`points` or `events`: the process dies once, right after writing them."""
    index: str = ""
    """Folder of the index; empty is the deployment's own."""
    batch_frames: int = 16


def stage(name: str) -> AnyStage:
    stages: dict[str, AnyStage] = {
        "decode": Decode(DecodeSettings(threads=1)),
        "gate": Gate(GateSettings(stages=("embed",))),
        "fate": Fate(),
        "count": Count(),
        "embed": Vectors(),
    }
    return stages[name]


def die_once(flag: Path) -> None:
    if not flag.exists():
        flag.touch()
        os._exit(70)


class MortalIndex(EdgeIndex):
    """Dies once, right after points were written."""

    flag: Path | None = None

    async def upsert(self, collection: str, points: Sequence[Point]) -> None:
        await super().upsert(collection, points)
        if self.flag is not None:
            die_once(self.flag)


class LooseTransport(SqliteTransport):
    """The embedded log without transactions over outputs and offsets; may die between the two."""

    atomic = False
    flag: Path | None = None

    async def publish(self, records: Sequence[NewRecord]) -> None:
        await super().publish(records)
        if self.flag is not None:
            die_once(self.flag)


async def main(folder: Path, options: Options, ready: Callable[[], None]) -> None:
    async with deployed(folder, fresh=False, index_folder=Path(options.index) if options.index else None) as here:
        if not options.atomic:
            here.transport = LooseTransport(folder / "log.sqlite")
            here.transport.flag = folder / "died" if options.dies == "events" else None
            await here.transport.open()
        if options.dies == "points":
            mortal = MortalIndex(Path(options.index or folder / "index"), EdgeSettings(idle_seconds=INDEX_IDLE_SECONDS))
            mortal.flag = folder / "died"
            here.index = mortal
        settings = msgspec.structs.replace(QUICK, batch_frames=options.batch_frames)
        worker = here.worker([stage(name) for name in options.stages], settings=settings)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
        ready()
        await worker.run()
        await here.index.close()
        await here.transport.close()


def run(folder: Path, options: Options, ready: Connection) -> None:
    """Run the worker to its end; `ready` receives "ready" when its work begins."""
    asyncio.run(main(folder, options, lambda: ready.send("ready")))


def start(folder: Path, options: Options) -> tuple[BaseProcess, Connection]:
    """A worker over the deployment in `folder`; the connection receives "ready" when its work begins."""
    return fork(run, folder, options)
