"""A deployment under test: a log, an index, blobs and worker processes, each of which writes a history."""

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
from tests.nemesis import history, rules, worker
from tests.nemesis.history import History
from tests.nemesis.network import Link
from tests.nemesis.servers import Broker, Qdrant
from tests.nemesis.worker import WorkerOptions, index_at, open_patiently
from tests.nemesis.workload import Workload
from tests.support.deployment import collections, declared
from tests.support.fault_stages import EMBEDDING_STAGES
from tests.support.forked import fork
from tests.support.transport_urls import connect

Log = Literal["sqlite", "kafka"]
DEADLINE_SECONDS = 180.0
"""For every expectation; what takes a moment elsewhere takes long on a busy machine."""
PAUSE_SECONDS = 0.05


class ExpectationError(Exception):
    """An expectation of the schedule was not met; the message says which."""


@dataclass(frozen=True)
class Scale:
    """How long and how often: `seconds` is a factor on outages, `rounds` the kills at each point."""

    rounds: int
    seconds: float
    name: str


ALL, LONG, SHORT = Scale(15, 1.0, "all"), Scale(200, 1.0, "long"), Scale(1, 0.05, "short")


@dataclass
class WorkerProcess:
    """A worker, forked or started as a command."""

    name: str
    process: BaseProcess | subprocess.Popen[bytes]
    peak_bytes: int = 0

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative after a signal."""
        return self.process.poll() if isinstance(self.process, subprocess.Popen) else self.process.exitcode

    def signal(self, number: signal.Signals) -> None:
        if self.exit_code is None:
            os.kill(self.pid, number)

    def measure(self) -> None:
        """Update the peak of its memory."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                self.peak_bytes = max(self.peak_bytes, 1024 * int(line.split()[1]))


@dataclass
class Rig:
    folder: Path
    log: Log
    log_url: str
    index_url: str
    scale: Scale
    group: str
    broker: Broker | None = None
    qdrant: Qdrant | None = None
    link: Link | None = None
    options: dict[str, Any] = field(default_factory=dict)
    """Of all workers of the fault, beside their addresses."""
    workers: list[WorkerProcess] = field(default_factory=list)
    ended: list[WorkerProcess] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _started: int = 0

    async def open(self) -> None:
        self.transport: Transport = await open_patiently(connect(self.log_url))
        await self.transport.create(declared())
        self.index: Index = index_at(self.index_url)
        await (
            self.index.collections()
        )  # started by a worker, an embedded index would have that worker's limits and clock
        self.workload = Workload(self.transport, History(self.folder / "history", "producer"))
        self._measuring = asyncio.create_task(self._measure())

    async def reopen(self, change: Callable[[], None]) -> None:
        """Close the log, change its files, and open it again."""
        await self.transport.close()
        change()
        self.transport = await open_patiently(connect(self.log_url))
        self.workload.transport = self.transport

    async def close(self) -> None:
        self._measuring.cancel()
        await self.workload.stop()
        for process in self.workers:
            process.signal(signal.SIGCONT)
            process.signal(signal.SIGKILL)
        await self.index.close()
        await self.transport.close()

    # Workers

    async def start(self, *, prefix: Sequence[str] = (), **options: Any) -> WorkerProcess:
        """Start a worker; as a command of its own where `prefix` puts it into another network."""
        self._started += 1
        own = WorkerOptions(
            name=f"worker-{self._started}",
            log=self.log_url,
            index=self.index_url,
            blobs=str(self.folder / "blobs"),
            history=str(self.folder / "history"),
            output=str(self.folder / "output.txt"),
            group=self.group,
            **{**self.options, **options},
        )
        self.workers.append(_command(own, prefix) if prefix else await self._forked(own))
        return self.workers[-1]

    async def _forked(self, options: WorkerOptions) -> WorkerProcess:
        process, ready = fork(worker.run, options)
        await self.until(lambda: ready.poll() or process.exitcode is not None, f"{options.name} starts")
        return WorkerProcess(options.name, process)

    async def stop(self, process: WorkerProcess) -> int:
        """Send SIGTERM and return the exit code."""
        process.measure()
        process.signal(signal.SIGTERM)
        return await self.exited(process)

    async def exited(self, process: WorkerProcess) -> int:
        """Wait for the exit and return its code."""
        await self.until(lambda: process.exit_code is not None, f"{process.name} exits")
        self.workers.remove(process)
        self.ended.append(process)
        assert process.exit_code is not None
        return process.exit_code

    @property
    def peak_bytes(self) -> int:
        return max((process.peak_bytes for process in [*self.workers, *self.ended]), default=0)

    async def _measure(self) -> None:
        while True:
            for process in self.workers:
                process.measure()
            await asyncio.sleep(0.5)

    # Waiting

    async def until(self, condition: Callable[[], Any], what: str, seconds: float = DEADLINE_SECONDS) -> None:
        """Return when `condition` holds. Raises ExpectationError at the deadline, with `what` it stands for."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    holds = condition()
                    if await holds if isinstance(holds, Awaitable) else holds:
                        return
                    await asyncio.sleep(PAUSE_SECONDS)
        except TimeoutError as error:
            raise ExpectationError(f"not within {seconds:.0f} s: {what}") from error

    async def lag(self) -> int | None:
        """None while the log is unavailable."""
        try:
            return sum((await self.transport.group_lag(f"{self.group}.fate", [topics.RAW])).values())
        except Unavailable:
            return None

    async def committed(self) -> int:
        """Records that the group has finished; -1 while the log is unavailable."""
        try:
            ends = await self.transport.ends(topics.RAW)
        except Unavailable:
            return -1
        lag = await self.lag()
        return -1 if lag is None else sum(end for _, end in ends.values()) - lag

    async def drained(self) -> bool:
        return await self.lag() == 0

    # Verdict

    async def final(self) -> rules.Final:
        """What topics, index and group hold now; also written beside the histories."""
        ends = await self.transport.ends(topics.RAW)
        lag = await self.transport.group_lag(f"{self.group}.fate", [topics.RAW])
        positions = {
            partition.index: Position(end).next_offset - lag.get(partition, 0) for partition, (_, end) in ends.items()
        }
        names = [spec.name for spec in collections().values()]
        final = rules.Final(await snapshot(self.transport, self.index, names), positions)
        (self.folder / "final.json").write_bytes(msgspec.json.encode(final))
        return final

    async def judged(self) -> tuple[Findings, list[str]]:
        final = await self.final()
        return judge(final.snapshot, embedding_stages=EMBEDDING_STAGES), rules.broken(
            history.read(self.folder / "history"), final
        )


def _command(options: WorkerOptions, prefix: Sequence[str]) -> WorkerProcess:
    command = [*prefix, sys.executable, "-m", worker.__name__, msgspec.json.encode(options).decode()]
    return WorkerProcess(options.name, subprocess.Popen(command))
