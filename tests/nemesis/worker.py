"""A worker under test, in a process of its own: `python -m tests.nemesis.worker OPTIONS` (JSON), or forked.

It writes its history and is killed at the point that its options name. It exits with 0 after a stop, with 3 after an
error of its own.
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
from streams.worker.instruments import worker_instruments
from streams.worker.segment import SegmentSpec
from streams.worker.settings import WorkerSettings
from streams.worker.worker import Worker
from tests.nemesis.history import History
from tests.nemesis.recording import KillPoint, recorded_index, recorded_transport
from tests.support.deployment import INDEX_IDLE_SECONDS, QUICK, collections
from tests.support.fault_stages import Count, Fate, Vectors
from tests.support.transport_urls import connect

STOPPED_BY_ERROR = 3


class WorkerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """URLs are those of the configuration."""

    name: str
    log: str
    index: str
    blobs: str
    history: str
    output: str
    """File of its standard output and error."""
    dies: str = ""
    """The point at which it is killed."""
    spared: int = 0
    """Passes of that point before the kill."""
    group: str = "sightline"
    slow_seconds: float = 0.0
    """Time per frame, as a model ten times too slow would take."""
    hungry_bytes: int = 0
    """Address space per frame of a batch while the batch is computed."""
    address_space_bytes: int = 0
    """Limit of the process, beyond what it has at its start."""
    clock_offset_seconds: float = 0.0
    """Offset of the wall clock; time since boot is right, as on a machine whose clock was set wrongly."""
    detector: str = ""
    """Folder of a real detector's weights; it runs as a further stage."""
    broken_while: str = ""
    """While this file exists, the stage fails for every frame with an unexpected error."""
    batch_frames: int = 16
    in_flight_frames: int = 512
    in_flight_bytes: int = 32 << 20


class FaultyStage(Fate):
    """The stage that reads fates, with the faults that the options name."""

    name: ClassVar[str] = "fate"
    options: WorkerOptions
    kill_point: KillPoint

    def process(self, frames: Sequence[Frame]) -> Verdicts:
        self.kill_point.passed("inside a stage")
        if self.options.broken_while and Path(self.options.broken_while).exists():
            raise KeyError("an unexpected error")
        if self.options.hungry_bytes:
            np.empty(self.options.hungry_bytes * len(frames), np.uint8)
        if self.options.slow_seconds:
            time.sleep(self.options.slow_seconds * len(frames))
        return super().process(frames)


class OffsetClock(SystemClock):
    def __init__(self, offset_seconds: float) -> None:
        self._offset_seconds = offset_seconds

    def now(self) -> float:
        return super().now() + self._offset_seconds


def open_log(url: str, clock: Clock) -> Transport:
    transport = connect(url)
    if isinstance(transport, SqliteTransport):
        return SqliteTransport(transport.path, transport.settings, wall=clock.now)
    return transport


def faulty_stage(options: WorkerOptions, kill_point: KillPoint) -> FaultyStage:
    stage = FaultyStage()
    stage.options, stage.kill_point = options, kill_point
    return stage


def index_at(url: str) -> Index:
    scheme, _, folder = url.partition(":")
    if scheme == "edge":
        return EdgeIndex(Path(folder), EdgeSettings(idle_seconds=INDEX_IDLE_SECONDS))
    return open_index(url)


async def open_patiently(transport: Transport) -> Transport:
    """Open the transport; retries while the broker is unavailable."""
    while True:
        try:
            await transport.open()
        except Unavailable:
            continue
        return transport


def settings(options: WorkerOptions) -> WorkerSettings:
    return msgspec.structs.replace(
        QUICK,
        name=options.name,
        group=options.group,
        device="cpu",
        batch_frames=options.batch_frames,
        in_flight_frames=options.in_flight_frames,
        in_flight_bytes=options.in_flight_bytes,
        batch_bytes=options.in_flight_bytes,
        backoff_max_seconds=1.0,
        drain_seconds=10.0,
    )


def exit_with(parent: int) -> None:
    """Exit when the process that plays the fault is gone, for it may be killed too. Runs in a thread."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


async def main(options: WorkerOptions, ready: Callable[[], None]) -> None:
    history = History(Path(options.history), options.name)
    kill_point, clock = KillPoint(options.dies, options.spared), OffsetClock(options.clock_offset_seconds)
    async with AsyncExitStack() as stack:
        transport = await open_patiently(open_log(options.log, clock))
        stack.push_async_callback(transport.close)
        index, blobs = index_at(options.index), BlobFolder(Path(options.blobs))
        stack.push_async_callback(index.close)
        stack.push_async_callback(blobs.close)
        stages: list[AnyStage] = [faulty_stage(options, kill_point), Count(), Vectors()]
        if options.detector:
            stages += [Decode(DecodeSettings(threads=1)), Detect(DetectSettings(weights=options.detector))]
        backends = Backends(
            recorded_transport(transport, history, kill_point), recorded_index(index, history, kill_point), blobs
        )
        plan = Plan((tuple(stage.name for stage in stages),))
        spec = SegmentSpec(plan, 0, stages, collections=collections())
        instruments = worker_instruments(settings(options), Metrics(CollectorRegistry()), clock)
        worker = Worker(backends, spec, settings(options), instruments)

        def stop() -> None:
            kill_point.draining = True
            worker.stop()

        with stopping(stop):
            ready()
            try:
                await worker.run()
            except Exception as error:
                traceback.print_exc()
                print(f"{type(error).__name__}: {error}; unready: {worker.health.unready_reasons()}", flush=True)
                os._exit(STOPPED_BY_ERROR)


def live(options: WorkerOptions, ready: Callable[[], None]) -> None:
    """Run the worker to its end, with output and limits set."""
    with open(options.output, "ab", buffering=0) as output:  # noqa: PTH123 - for its descriptor
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    if options.address_space_bytes:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + options.address_space_bytes,) * 2)
    threading.Thread(target=exit_with, args=(os.getppid(),), daemon=True).start()
    asyncio.run(main(options, ready))
    leave_hung_stages()


def run(options: WorkerOptions, ready: Connection) -> None:
    live(options, lambda: ready.send("ready"))


if __name__ == "__main__":
    live(msgspec.json.decode(sys.argv[1], type=WorkerOptions), lambda: None)
