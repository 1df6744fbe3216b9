"""Actions on workers: start, stop, kill and freeze them, and wait for what becomes of them."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import tinyworld
from tests.nemesis.action import WaitForProgress
from tests.nemesis.rig import PAUSE_SECONDS, ExpectationError, Rig
from tests.nemesis.worker import STOPPED_BY_ERROR

KILLED = -signal.SIGKILL
TERMINATED_TWICE = 128 + signal.SIGTERM
CORRUPTED_BYTES = 1 << 16
DETECTOR = Path(next(iter(tinyworld.__path__))) / "checkpoints" / "yolov9"
DRAINED_FRAME_SECONDS = 0.02
"""Half of what a frame may take at the rate of the stream: most stops find frames in flight."""
DRAINS = 20


@dataclass(frozen=True)
class RunWorkers:
    """Have `count` workers from now on: start more, or stop the oldest, which must exit with 0."""

    count: int
    options: Mapping[str, Any] = field(default_factory=dict)

    async def run(self, rig: Rig) -> None:
        while len(rig.workers) < self.count:
            await rig.start(**self.options)
        while len(rig.workers) > self.count:
            if code := await rig.stop(rig.workers[0]):
                raise ExpectationError(f"a worker stopped by SIGTERM exited with {code}, not with 0")


@dataclass(frozen=True)
class RunRemoteWorkers:
    """Start `count` workers behind the link that can be cut."""

    count: int

    async def run(self, rig: Rig) -> None:
        assert rig.link is not None
        for _ in range(self.count):
            await rig.start(prefix=rig.link.prefix)


@dataclass(frozen=True)
class RunWorkerWithWrongClock:
    """Start a worker whose wall clock is off.

    The offset is injected, because libfaketime breaks `time.sleep` of Python 3.11.
    """

    offset_seconds: float

    async def run(self, rig: Rig) -> None:
        await rig.start(clock_offset_seconds=self.offset_seconds)


@dataclass(frozen=True)
class RunUntilKilledAt:
    """Run a worker until it dies by SIGKILL at this point.

    Where a frame that runs alone is marked, one or two passes are spared: a kill at exactly such a point on every start
    cannot be told from a frame that kills. Elsewhere no start makes any progress, and still no frame is to blame.
    """

    point: str

    async def run(self, rig: Rig) -> None:
        for _ in range(DRAINS):
            if await self._killed(rig):
                return
        raise ExpectationError(f"{DRAINS} drains in a row had no frame in flight")

    async def _killed(self, rig: Rig) -> bool:
        """A drain without frames in flight passes no point: that worker exits with 0."""
        drains = self.point == "during the drain"
        slow_seconds = DRAINED_FRAME_SECONDS if drains else 0.0
        victim = await rig.start(dies=self.point, spared=self._spared(), slow_seconds=slow_seconds)
        if drains:
            await WaitForProgress(1).run(rig)
            victim.signal(signal.SIGTERM)
        code = await rig.exited(victim)
        if code == KILLED or (code == 0 and drains):
            return code == KILLED
        raise ExpectationError(f"the worker to be killed {self.point} exited with {code}")

    def _spared(self) -> int:
        never_marked = ("after the poll", "between events and commit", "during the drain")
        return 0 if self.point in never_marked else random.randint(1, 2)


@dataclass(frozen=True)
class SendSignal:
    """To the oldest worker."""

    number: signal.Signals

    async def run(self, rig: Rig) -> None:
        rig.workers[0].signal(self.number)


@dataclass(frozen=True)
class WaitForExit:
    """The oldest worker exits with one of these codes."""

    codes: Sequence[int]

    async def run(self, rig: Rig) -> None:
        code = await rig.exited(rig.workers[0])
        if code not in self.codes:
            raise ExpectationError(f"a worker exited with {code}, not with {' or '.join(map(str, self.codes))}")


@dataclass(frozen=True)
class FreezeWorker:
    """SIGSTOP to the oldest worker between its writes: a stopped process keeps SQLite's locks."""

    async def run(self, rig: Rig) -> None:
        victim = rig.workers[0]
        while True:
            victim.signal(signal.SIGSTOP)
            if rig.log == "kafka" or not _is_locked(rig.folder / "log.sqlite"):
                return
            victim.signal(signal.SIGCONT)
            await asyncio.sleep(PAUSE_SECONDS)


def _is_locked(path: Path) -> bool:
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return True
    return False


@dataclass(frozen=True)
class SetStage:
    """The stage fails for every frame with an unexpected error, or works again."""

    state: Literal["broken", "repaired"]

    async def run(self, rig: Rig) -> None:
        flag = rig.folder / "broken"
        if self.state == "broken":
            flag.touch()
        else:
            flag.unlink()
        rig.options["broken_while"] = str(flag)


@dataclass(frozen=True)
class SetWeights:
    """The detector of workers started from now on: its weights are missing, partly overwritten, or as shipped."""

    state: Literal["missing", "corrupted", "shipped"]

    async def run(self, rig: Rig) -> None:
        (shipped,) = DETECTOR.glob("*.pt")
        folder = rig.folder / self.state
        if self.state != "missing":
            shutil.copytree(DETECTOR, folder)
        if self.state == "corrupted":
            content = bytearray(shipped.read_bytes())
            middle = len(content) // 2
            content[middle : middle + CORRUPTED_BYTES] = bytes(CORRUPTED_BYTES)
            (folder / shipped.name).write_bytes(content)
        rig.options["detector"] = str(folder)


@dataclass(frozen=True)
class WaitForStop:
    """All workers stop by themselves, unready, with this error as the cause."""

    cause: str

    async def run(self, rig: Rig) -> None:
        while rig.workers:
            await WaitForExit([STOPPED_BY_ERROR]).run(rig)
        output = rig.folder / "output.txt"
        if f"stopped: {self.cause}" not in output.read_text():
            raise ExpectationError(f"no worker reported that it is unready because of {self.cause}")
        output.unlink()


@dataclass(frozen=True)
class RestartUntilDrained:
    """Start a worker whenever one dies, until the lag is 0; more than `deaths` break the promise."""

    deaths: int

    async def run(self, rig: Rig) -> None:
        died = 0

        async def drained() -> bool:
            nonlocal died
            for process in [each for each in rig.workers if each.exit_code is not None]:
                died += 1
                await rig.exited(process)
            if not rig.workers:
                await rig.start()
            return await rig.drained()

        await rig.until(drained, "lag 0 in spite of deaths")
        rig.notes.append(f"{died} deaths")
        if died > self.deaths:
            raise ExpectationError(f"{died} deaths, {self.deaths} are allowed")
