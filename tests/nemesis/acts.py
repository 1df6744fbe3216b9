"""What a schedule is made of: each act is a small value that says what is done to a scene."""

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
from typing import Any, Literal, Protocol

import tinyworld
from tests.nemesis.load import LARGE, Mix
from tests.nemesis.network import Direction
from tests.nemesis.scene import PAUSE_SECONDS, FaultError, Own, Running, Scene
from tests.nemesis.servers import filled
from tests.nemesis.worker import STOPPED_BY_ERROR
from tests.support.deployment import PICTURE

KILLED = -signal.SIGKILL
GROUP_SECONDS = 30.0
"""Loading takes a moment; a broker that failed at it answers never."""
SPOILT_BYTES = 1 << 16
DETECTOR = Path(next(iter(tinyworld.__path__))) / "checkpoints" / "yolov9"
TERMINATED_TWICE = 128 + signal.SIGTERM
DRAINED_FRAME_SECONDS = 0.02
"""Half of what a frame may take at the rate of the stream: most stops find frames in flight."""
DRAINS = 20


class Act(Protocol):
    async def do(self, scene: Scene) -> None: ...


@dataclass(frozen=True)
class Accept:
    """Frames are fed in, and acknowledged before the next act."""

    frames: int
    mix: Mix = field(default_factory=dict)
    large: bool = False

    async def do(self, scene: Scene) -> None:
        scene.load.mix, scene.load.content = self.mix, LARGE if self.large else PICTURE
        await scene.load.accept(self.frames)


@dataclass(frozen=True)
class Stream:
    """Frames are fed in from now on, until the schedule ends."""

    frames_per_second: float
    mix: Mix = field(default_factory=lambda: {"invalid": 10})

    async def do(self, scene: Scene) -> None:
        scene.load.mix = self.mix
        scene.load.stream(self.frames_per_second)


@dataclass(frozen=True)
class Workers:
    """So many work from now on: others are started, or the oldest told to stop, which must end in peace."""

    count: int
    orders: Mapping[str, Any] = field(default_factory=dict)

    async def do(self, scene: Scene) -> None:
        while len(scene.workers) < self.count:
            await scene.start(**self.orders)
        while len(scene.workers) > self.count:
            if code := await scene.stop(scene.workers[0]):
                raise FaultError(f"a worker that was told to stop exited with {code}")


@dataclass(frozen=True)
class Elsewhere:
    """So many workers behind the line that can be cut."""

    count: int

    async def do(self, scene: Scene) -> None:
        assert scene.line is not None
        for _ in range(self.count):
            await scene.start(own=Own(prefix=scene.line.prefix))


@dataclass(frozen=True)
class WrongClock:
    """A worker whose wall clock is off by so much: injected, because libfaketime breaks `time.sleep` of Python 3.11."""

    offset_seconds: float

    async def do(self, scene: Scene) -> None:
        await scene.start(clock_offset_seconds=self.offset_seconds)


@dataclass(frozen=True)
class Progress:
    """Return when so many records more are committed."""

    records: int

    async def do(self, scene: Scene) -> None:
        before = -1
        while before < 0:
            before = await scene.committed()
        goal = before + self.records

        async def there() -> bool:
            return await scene.committed() >= goal

        await scene.until(there, f"{self.records} records more are committed")


@dataclass(frozen=True)
class Outage:
    """It lasts: so many seconds, fewer in the short selection, but always longer than what it is to outlast."""

    seconds: float
    at_least_seconds: float = 1.0

    async def do(self, scene: Scene) -> None:
        await asyncio.sleep(max(self.at_least_seconds, self.seconds * scene.scale.seconds))


@dataclass(frozen=True)
class Times:
    """The same again and again; as often as the scale says where no number is given."""

    acts: Sequence[Act]
    count: int | None = None

    async def do(self, scene: Scene) -> None:
        for _ in range(scene.scale.rounds if self.count is None else min(self.count, scene.scale.rounds)):
            for act in self.acts:
                await act.do(scene)


@dataclass(frozen=True)
class DieAt:
    """A worker works and dies by SIGKILL at this point.

    A pass or two are spared where a frame that runs alone is marked: who kills at exactly such a point every time is a
    frame, for all that can be known. Elsewhere no start makes any progress, and still no frame is to blame.
    """

    point: str

    async def do(self, scene: Scene) -> None:
        for _ in range(DRAINS):
            if await self._died(scene):
                return
        raise FaultError(f"{DRAINS} drains in a row had nothing to do")

    async def _died(self, scene: Scene) -> bool:
        """A drain with nothing left to do passes no point: that worker ends in peace."""
        drains = self.point == "during the drain"
        slow_seconds = DRAINED_FRAME_SECONDS if drains else 0.0
        victim = await scene.start(dies=self.point, spared=self._spared(), slow_seconds=slow_seconds)
        if drains:
            await Progress(1).do(scene)
            victim.signal(signal.SIGTERM)
        code = await scene.gone(victim)
        if code == KILLED or (code == 0 and drains):
            return code == KILLED
        raise FaultError(f"the worker that was to die {self.point} exited with {code}")

    def _spared(self) -> int:
        never_marked = ("after the poll", "between events and commit", "during the drain")
        return 0 if self.point in never_marked else random.randint(1, 2)


@dataclass(frozen=True)
class Signal:
    """To the oldest worker."""

    number: signal.Signals

    async def do(self, scene: Scene) -> None:
        scene.workers[0].signal(self.number)


@dataclass(frozen=True)
class Gone:
    """The oldest worker ends, with one of these codes."""

    codes: Sequence[int]

    async def do(self, scene: Scene) -> None:
        code = await scene.gone(scene.workers[0])
        if code not in self.codes:
            raise FaultError(f"a worker exited with {code}, not with {' or '.join(map(str, self.codes))}")


@dataclass(frozen=True)
class Freeze:
    """SIGSTOP to the oldest worker, between its writes: SQLite's locks of a sleeper bind everyone."""

    async def do(self, scene: Scene) -> None:
        victim = scene.workers[0]
        while True:
            victim.signal(signal.SIGSTOP)
            if scene.log == "kafka" or not _holds_lock(scene.folder / "log.sqlite"):
                return
            victim.signal(signal.SIGCONT)
            await asyncio.sleep(PAUSE_SECONDS)


def _holds_lock(path: Path) -> bool:
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return True
    return False


@dataclass(frozen=True)
class BrokerIs:
    how: Literal["killed", "started"]

    async def do(self, scene: Scene) -> None:
        assert scene.broker is not None
        if self.how == "killed":
            await asyncio.to_thread(scene.broker.kill)
            return
        await scene.broker.start()
        while not await self._knows_its_groups(scene):
            scene.notes.append("the broker came back without its groups, and was started once more")
            await asyncio.to_thread(scene.broker.kill)
            await scene.broker.start()

    async def _knows_its_groups(self, scene: Scene) -> bool:
        """A broker that is short of time may fail to load its group coordinator, and never tries again."""

        async def asked() -> bool:
            return await scene.lag() is not None

        try:
            await scene.until(asked, "the group's coordinator answers", GROUP_SECONDS)
        except FaultError:
            return False
        return True


@dataclass(frozen=True)
class IndexIs:
    how: Literal["killed", "started", "hanging", "awake", "failing", "repaired"]

    async def do(self, scene: Scene) -> None:
        assert scene.qdrant is not None
        match self.how:
            case "killed":
                scene.qdrant.kill()
            case "hanging":
                scene.qdrant.signal(signal.SIGSTOP)
            case "awake":
                scene.qdrant.signal(signal.SIGCONT)
            case "failing":
                scene.qdrant.fail()
            case "repaired":
                await scene.qdrant.recover()
            case "started":
                await scene.qdrant.start()


@dataclass(frozen=True)
class Cut:
    direction: Direction

    async def do(self, scene: Scene) -> None:
        assert scene.line is not None
        scene.line.cut(self.direction)


@dataclass(frozen=True)
class Mend:
    async def do(self, scene: Scene) -> None:
        assert scene.line is not None
        scene.line.mend()


@dataclass(frozen=True)
class DiskIs:
    """The log's file system has nothing left, or has room again."""

    how: Literal["full", "free"]

    async def do(self, scene: Scene) -> None:
        filler = scene.folder / "disk" / "filler"
        if self.how == "full":
            await asyncio.to_thread(filled, filler.parent)
        else:
            filler.unlink()


@dataclass(frozen=True)
class Refused:
    """Return when the log has refused frames since the stream began: the fault has been felt."""

    async def do(self, scene: Scene) -> None:
        before = scene.load.refused
        await scene.until(lambda: scene.load.refused > before, "the log refuses frames")


@dataclass(frozen=True)
class StageIs:
    """The stage fails for every frame with an error nobody knows, or works."""

    how: Literal["broken", "repaired"]

    async def do(self, scene: Scene) -> None:
        flag = scene.folder / "broken"
        if self.how == "broken":
            flag.touch()
        else:
            flag.unlink()
        scene.orders["broken_while"] = str(flag)


@dataclass(frozen=True)
class Stopped:
    """The workers stop by themselves, unready, with this error as the cause."""

    cause: str

    async def do(self, scene: Scene) -> None:
        while scene.workers:
            await Gone([STOPPED_BY_ERROR]).do(scene)
        output = scene.folder / "output.txt"
        if f"stopped: {self.cause}" not in output.read_text():
            raise FaultError(f"no worker said that it is unready because of {self.cause}")
        output.unlink()


@dataclass(frozen=True)
class WeightsAre:
    """Of the detector that workers run from now on: none in their place, some bytes of them spoilt, or the shipped."""

    how: Literal["missing", "spoilt", "shipped"]

    async def do(self, scene: Scene) -> None:
        (shipped,) = DETECTOR.glob("*.pt")
        folder = scene.folder / self.how
        if self.how != "missing":
            shutil.copytree(DETECTOR, folder)
        if self.how == "spoilt":
            content = bytearray(shipped.read_bytes())
            middle = len(content) // 2
            content[middle : middle + SPOILT_BYTES] = bytes(SPOILT_BYTES)
            (folder / shipped.name).write_bytes(content)
        scene.orders["detector"] = str(folder)


@dataclass(frozen=True)
class KeptRunning:
    """Workers are started again whenever they die, until everything is done; at most so many deaths."""

    deaths: int

    async def do(self, scene: Scene) -> None:
        died = 0

        async def done() -> bool:
            nonlocal died
            for running in [one for one in scene.workers if one.exit_code is not None]:
                died += 1
                await scene.gone(running)
            if not scene.workers:
                await scene.start()
            return await scene.drained()

        await scene.until(done, "everything is done in spite of deaths")
        scene.notes.append(f"{died} deaths")
        if died > self.deaths:
            raise FaultError(f"{died} deaths, {self.deaths} are enough")


@dataclass(frozen=True)
class TearLog:
    """Every worker is killed, and what a power cut leaves is put in the log's place.

    That is its file, its write-ahead file with a torn write at the end, and no shared memory.
    """

    async def do(self, scene: Scene) -> None:
        await _kill_all(scene)
        await scene.load.stop()
        log, wal = scene.folder / "log.sqlite", scene.folder / "log.sqlite-wal"
        content, ahead = log.read_bytes(), wal.read_bytes()
        if not ahead:
            raise FaultError("there was no write-ahead file to tear")

        def tear() -> None:
            for path in scene.folder.glob("log.sqlite*"):
                path.unlink()
            log.write_bytes(content)
            wal.write_bytes(ahead + random.randbytes(random.randint(1, 20_000)))

        await scene.reopened(tear)


async def _kill_all(scene: Scene) -> None:
    victims: list[Running] = list(scene.workers)
    for victim in victims:
        victim.signal(signal.SIGKILL)
    for victim in victims:
        await scene.gone(victim)
