"""A worker under test, in a process of its own: `python -m tests.nemesis.worker ORDERS`, or forked.

It writes its history, dies where it is ordered to, and exits 0 after a stop in peace, 3 after an error of its own.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from typing import ClassVar

import msgspec
import numpy as np
from prometheus_client import CollectorRegistry

from processors.frame import Frame, Verdicts
from processors.stage import AnyStage
from processors.stages.decode import Decode, DecodeSettings
from processors.stages.detect import Detect, DetectSettings
from sightline.terminal.signals import leave_hung_stages, stopping
from stores.edge.client import EdgeIndex
from stores.edge.settings import EdgeSettings
from stores.folder import BlobFolder
from stores.index import Index
from stores.open import open_index
from streams.backends import Backends
from streams.clock import Clock, SystemClock
from streams.errors import Unavailable
from streams.metrics import Metrics
from streams.plan import Plan
from streams.sqlite.transport import SqliteTransport
from streams.transport import Transport
from streams.worker.segment import SegmentSpec
from streams.worker.settings import WorkerSettings
from streams.worker.worker import Worker
from tests.nemesis.history import History
from tests.nemesis.recording import Death, recorded_index, recorded_transport
from tests.support.deployment import INDEX_IDLE_SECONDS, QUICK, collections
from tests.support.fault_stages import Count, Fate, Vectors
from tests.support.transport_urls import connect

STOPPED_BY_ERROR = 3


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is to do; URLs are those of the configuration."""

    name: str
    log: str
    index: str
    blobs: str
    history: str
    output: str
    """Where its words go."""
    dies: str = ""
    spared: int = 0
    group: str = "sightline"
    slow_seconds: float = 0.0
    """Every frame takes so long, as a model ten times too slow would."""
    hungry_bytes: int = 0
    """Every frame of a batch takes so much address space while it is computed."""
    address_space_bytes: int = 0
    """Limit of the process, beyond what it has when it begins."""
    clock_offset_seconds: float = 0.0
    """The wall clock is off by so much; time since boot is right, as it is on a machine whose clock was set wrongly."""
    detector: str = ""
    """Where a real detector's weights are; it runs as one stage more."""
    broken_while: str = ""
    """While this file exists, the stage fails for every frame with an error nobody knows."""
    batch_frames: int = 16
    in_flight_frames: int = 512
    in_flight_bytes: int = 32 << 20


class Trial(Fate):
    """The stage that fates befall, with the troubles that orders name."""

    name: ClassVar[str] = "fate"
    orders: Orders
    death: Death

    def process(self, frames: Sequence[Frame]) -> Verdicts:
        self.death.at("inside a stage")
        if self.orders.broken_while and Path(self.orders.broken_while).exists():
            raise KeyError("nobody expected this")
        if self.orders.hungry_bytes:
            np.empty(self.orders.hungry_bytes * len(frames), np.uint8)
        if self.orders.slow_seconds:
            time.sleep(self.orders.slow_seconds * len(frames))
        return super().process(frames)


class WrongClock(SystemClock):
    def __init__(self, offset_seconds: float) -> None:
        self._offset_seconds = offset_seconds

    def now(self) -> float:
        return super().now() + self._offset_seconds


def log_at(url: str, clock: Clock) -> Transport:
    transport = connect(url)
    if isinstance(transport, SqliteTransport):
        return SqliteTransport(transport.path, transport.settings, wall=clock.now)
    return transport


def trial(orders: Orders, death: Death) -> Trial:
    stage = Trial()
    stage.orders, stage.death = orders, death
    return stage


def index_at(where: str) -> Index:
    scheme, _, folder = where.partition(":")
    if scheme == "edge":
        return EdgeIndex(Path(folder), EdgeSettings(idle_seconds=INDEX_IDLE_SECONDS))
    return open_index(where)


async def opened(transport: Transport) -> Transport:
    """Open in the end: a broker that is away is waited for."""
    while True:
        try:
            await transport.open()
        except Unavailable:
            continue
        return transport


def settings(orders: Orders) -> WorkerSettings:
    return msgspec.structs.replace(
        QUICK,
        name=orders.name,
        group=orders.group,
        device="cpu",
        batch_frames=orders.batch_frames,
        in_flight_frames=orders.in_flight_frames,
        in_flight_bytes=orders.in_flight_bytes,
        batch_bytes=orders.in_flight_bytes,
        backoff_max_seconds=1.0,
        drain_seconds=10.0,
    )


def end_with(parent: int) -> None:
    """In a thread: whoever plays the fault may be killed too; then nobody is left to work on."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


async def main(orders: Orders, ready: Callable[[], None]) -> None:
    history = History(Path(orders.history), orders.name)
    death, clock = Death(orders.dies, orders.spared), WrongClock(orders.clock_offset_seconds)
    async with AsyncExitStack() as stack:
        transport = await opened(log_at(orders.log, clock))
        stack.push_async_callback(transport.close)
        index, blobs = index_at(orders.index), BlobFolder(Path(orders.blobs))
        stack.push_async_callback(index.close)
        stack.push_async_callback(blobs.close)
        stages: list[AnyStage] = [trial(orders, death), Count(), Vectors()]
        if orders.detector:
            stages += [Decode(DecodeSettings(threads=1)), Detect(DetectSettings(weights=orders.detector))]
        backends = Backends(recorded_transport(transport, history, death), recorded_index(index, history, death), blobs)
        plan = Plan((tuple(stage.name for stage in stages),))
        spec = SegmentSpec(plan, 0, stages, collections=collections())
        worker = Worker(backends, spec, settings(orders), Metrics(CollectorRegistry()), clock)

        def stop() -> None:
            death.draining = True
            worker.stop()

        with stopping(stop):
            ready()
            try:
                await worker.run()
            except Exception as error:
                traceback.print_exc()
                print(f"{type(error).__name__}: {error}; unready: {worker.health.unready_reasons()}", flush=True)
                os._exit(STOPPED_BY_ERROR)


def live(orders: Orders, ready: Callable[[], None]) -> None:
    """The process's whole life."""
    with open(orders.output, "ab", buffering=0) as output:  # noqa: PTH123 - for its descriptor
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    if orders.address_space_bytes:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + orders.address_space_bytes,) * 2)
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    asyncio.run(main(orders, ready))
    leave_hung_stages()


def run(orders: Orders, ready: Connection) -> None:
    live(orders, lambda: ready.send("ready"))


if __name__ == "__main__":
    live(msgspec.json.decode(sys.argv[1], type=Orders), lambda: None)
