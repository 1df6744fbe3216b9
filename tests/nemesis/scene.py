"""A deployment under test: a log, an index, blobs and worker processes, each writing its history."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

import msgspec

from schemas import topics
from stores.index import Index
from streams.errors import Unavailable
from streams.lifecycle.check import Findings, judge, snapshot
from streams.transport import Position, Transport
from tests.faults.forked import fork
from tests.nemesis import history, rules, worker
from tests.nemesis.history import History
from tests.nemesis.load import Load
from tests.nemesis.network import Line
from tests.nemesis.servers import Broker, Qdrant
from tests.nemesis.worker import Orders, index_at
from tests.support.deployment import collections, declared
from tests.support.transport_urls import connect

Log = Literal["sqlite", "kafka"]
PATIENCE_SECONDS = 180.0
"""For whatever has to come about; a busy machine takes long for what takes a moment elsewhere."""
PAUSE_SECONDS = 0.05


class FaultError(Exception):
    """What should have come about did not; the sentence says what."""


@dataclass(frozen=True)
class Scale:
    """How long and how often: `seconds` shortens outages, `rounds` counts kills at each point."""

    rounds: int
    seconds: float
    name: str


ALL, LONG, SHORT = Scale(15, 1.0, "all"), Scale(200, 1.0, "long"), Scale(1, 0.05, "short")


@dataclass
class Running:
    """A worker's process, forked or started as a command."""

    name: str
    process: BaseProcess | subprocess.Popen[bytes]
    peak_bytes: int = 0

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for a signal."""
        return self.process.poll() if isinstance(self.process, subprocess.Popen) else self.process.exitcode

    def signal(self, number: signal.Signals) -> None:
        if self.exit_code is None:
            os.kill(self.pid, number)

    def measure(self) -> None:
        """The most memory it ever held."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                self.peak_bytes = max(self.peak_bytes, 1024 * int(line.split()[1]))


@dataclass(frozen=True)
class Own:
    """What a worker started as a command runs under."""

    prefix: Sequence[str]


@dataclass
class Scene:
    folder: Path
    log: Log
    log_url: str
    index_url: str
    scale: Scale
    group: str
    broker: Broker | None = None
    qdrant: Qdrant | None = None
    line: Line | None = None
    orders: dict[str, Any] = field(default_factory=dict)
    """What all workers of the fault are told beside their places."""
    workers: list[Running] = field(default_factory=list)
    ended: list[Running] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _started: int = 0

    async def open(self) -> None:
        self.transport: Transport = await worker.opened(connect(self.log_url))
        await self.transport.create(declared())
        self.index: Index = index_at(self.index_url)
        await self.index.collections()  # an embedded index begun by a worker would have that worker's limits and clock
        self.load = Load(self.transport, History(self.folder / "history", "producer"))
        self._measuring = asyncio.create_task(self._measure())

    async def reopened(self, change: Callable[[], None]) -> None:
        """Let go of the log, change what lies on the disk, and open it again."""
        await self.transport.close()
        change()
        self.transport = await worker.opened(connect(self.log_url))
        self.load.transport = self.transport

    async def close(self) -> None:
        self._measuring.cancel()
        await self.load.stop()
        for running in self.workers:
            running.signal(signal.SIGCONT)
            running.signal(signal.SIGKILL)
        await self.index.close()
        await self.transport.close()

    # Workers

    async def start(self, *, own: Own | None = None, **keys: Any) -> Running:
        """One worker more; a command of its own where it needs another network."""
        self._started += 1
        orders = Orders(
            name=f"worker-{self._started}",
            log=self.log_url,
            index=self.index_url,
            blobs=str(self.folder / "blobs"),
            history=str(self.folder / "history"),
            output=str(self.folder / "output.txt"),
            group=self.group,
            **{**self.orders, **keys},
        )
        self.workers.append(_command(orders, own) if own else await self._forked(orders))
        return self.workers[-1]

    async def _forked(self, orders: Orders) -> Running:
        process, ready = fork(worker.run, orders)
        await self.until(lambda: ready.poll() or process.exitcode is not None, f"{orders.name} begins")
        return Running(orders.name, process)

    async def stop(self, running: Running) -> int:
        """SIGTERM; how it ended."""
        running.measure()
        running.signal(signal.SIGTERM)
        return await self.gone(running)

    async def gone(self, running: Running) -> int:
        """Wait for its end."""
        await self.until(lambda: running.exit_code is not None, f"{running.name} ends")
        self.workers.remove(running)
        self.ended.append(running)
        assert running.exit_code is not None
        return running.exit_code

    @property
    def peak_bytes(self) -> int:
        return max((one.peak_bytes for one in [*self.workers, *self.ended]), default=0)

    async def _measure(self) -> None:
        while True:
            for running in self.workers:
                running.measure()
            await asyncio.sleep(0.5)

    # What is waited for

    async def until(self, condition: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Raises FaultError at the deadline."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    holds = condition()
                    if await holds if isinstance(holds, Awaitable) else holds:
                        return
                    await asyncio.sleep(PAUSE_SECONDS)
        except TimeoutError as error:
            raise FaultError(f"not within {seconds:.0f} s: {what}") from error

    async def lag(self) -> int | None:
        """None while the log is away."""
        try:
            return sum((await self.transport.group_lag(f"{self.group}.fate", [topics.RAW])).values())
        except Unavailable:
            return None

    async def committed(self) -> int:
        """Records that the group has finished; -1 while the log is away."""
        try:
            ends = await self.transport.ends(topics.RAW)
        except Unavailable:
            return -1
        lag = await self.lag()
        return -1 if lag is None else sum(end for _, end in ends.values()) - lag

    async def drained(self) -> bool:
        return await self.lag() == 0

    # The end

    async def final(self) -> rules.Final:
        """Everything as it lies now, kept beside the histories."""
        ends = await self.transport.ends(topics.RAW)
        lag = await self.transport.group_lag(f"{self.group}.fate", [topics.RAW])
        positions = {place.index: Position(end).next_offset - lag.get(place, 0) for place, (_, end) in ends.items()}
        names = [spec.name for spec in collections().values()]
        found = rules.Final(await snapshot(self.transport, self.index, names), positions)
        (self.folder / "final.json").write_bytes(msgspec.json.encode(found))
        return found

    async def judged(self) -> tuple[Findings, list[str]]:
        final = await self.final()
        return judge(final.snapshot), rules.broken(history.read(self.folder / "history"), final)


def _command(orders: Orders, own: Own) -> Running:
    command = [*own.prefix, sys.executable, "-m", worker.__name__, msgspec.json.encode(orders).decode()]
    return Running(orders.name, subprocess.Popen(command))
