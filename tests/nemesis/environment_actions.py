"""Actions on what workers stand on: broker, index, link, disk and the log's files."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.nemesis.network import Direction
from tests.nemesis.rig import ExpectationError, Rig, WorkerProcess
from tests.nemesis.servers import fill
from tests.nemesis.worker import index_at
from tests.support.damage import DAMAGES, copied, data_files, seen
from tests.support.edge_folder import end

COORDINATOR_SECONDS = 30.0
"""Loading takes a moment; a broker that failed to load its coordinator never answers."""


@dataclass(frozen=True)
class SetBroker:
    state: Literal["killed", "started"]

    async def run(self, rig: Rig) -> None:
        assert rig.broker is not None
        if self.state == "killed":
            await asyncio.to_thread(rig.broker.kill)
            return
        await rig.broker.start()
        while not await self._knows_its_groups(rig):
            rig.notes.append("the broker restarted without its groups and was started again")
            await asyncio.to_thread(rig.broker.kill)
            await rig.broker.start()

    async def _knows_its_groups(self, rig: Rig) -> bool:
        """A broker that is short of time may fail to load its group coordinator, and never tries again."""

        async def answers() -> bool:
            return await rig.lag() is not None

        try:
            await rig.until(answers, "the group's coordinator answers", COORDINATOR_SECONDS)
        except ExpectationError:
            return False
        return True


@dataclass(frozen=True)
class SetIndex:
    state: Literal["killed", "started", "hanging", "resumed", "failing", "repaired"]

    async def run(self, rig: Rig) -> None:
        assert rig.qdrant is not None
        match self.state:
            case "killed":
                rig.qdrant.kill()
            case "hanging":
                rig.qdrant.signal(signal.SIGSTOP)
            case "resumed":
                rig.qdrant.signal(signal.SIGCONT)
            case "failing":
                rig.qdrant.fail()
            case "repaired":
                await rig.qdrant.recover()
            case "started":
                await rig.qdrant.start()


@dataclass(frozen=True)
class CutLink:
    direction: Direction

    async def run(self, rig: Rig) -> None:
        assert rig.link is not None
        rig.link.cut(self.direction)


@dataclass(frozen=True)
class RestoreLink:
    async def run(self, rig: Rig) -> None:
        assert rig.link is not None
        rig.link.restore()


@dataclass(frozen=True)
class SetDisk:
    """The log's file system is full, or has space again."""

    state: Literal["full", "free"]

    async def run(self, rig: Rig) -> None:
        filler = rig.folder / "disk" / "filler"
        if self.state == "full":
            await asyncio.to_thread(fill, filler.parent)
        else:
            filler.unlink()


@dataclass(frozen=True)
class WaitForRefusal:
    """Return once the log has refused frames: the fault has had its effect."""

    async def run(self, rig: Rig) -> None:
        before = rig.workload.refused
        await rig.until(lambda: rig.workload.refused > before, "the log refuses frames")


@dataclass(frozen=True)
class TearLog:
    """Kill every worker, and leave of the log what a power failure leaves.

    That is its file, its write-ahead file with a torn write at the end, and no shared memory.
    """

    async def run(self, rig: Rig) -> None:
        await _kill(rig, list(rig.workers))
        await rig.workload.stop()
        log, wal = rig.folder / "log.sqlite", rig.folder / "log.sqlite-wal"
        log_content, wal_content = log.read_bytes(), wal.read_bytes()
        if not wal_content:
            raise ExpectationError("the log has no write-ahead file to tear")

        def tear() -> None:
            for path in rig.folder.glob("log.sqlite*"):
                path.unlink()
            log.write_bytes(log_content)
            wal.write_bytes(wal_content + random.randbytes(random.randint(1, 20_000)))

        await rig.reopen(tear)


@dataclass(frozen=True)
class DamageEveryFile:
    """Stop every worker; then cut and flip each file of log, index and blobs, each time in a copy of its own.

    Raises ExpectationError where a damaged copy says nothing and returns anything else than before, where the file is
    not named, and for a hang.
    """

    async def run(self, rig: Rig) -> None:
        for process in list(rig.workers):
            await rig.stop(process)
        rest, damaged = rig.folder / "rest", rig.folder / "damaged"
        await self._copy(rig, rest)
        copied(rest, damaged)
        whole, harmless = await seen(damaged), 0
        if whole.told:
            raise ExpectationError(f"before any damage: {whole.told}")
        files = list(data_files(rest))
        for path in files:
            for damage in DAMAGES:
                shutil.rmtree(damaged)
                copied(rest, damaged)
                damage.do(damaged / path)
                try:
                    found = await seen(damaged)
                except TimeoutError:
                    raise ExpectationError(f"{path}, {damage}: it hangs") from None
                if not found.told and found != whole:
                    raise ExpectationError(f"{path}, {damage}: nothing is said, and the content differs")
                if found.told and path.name not in found.told:
                    raise ExpectationError(f"{path}, {damage}: the file is not named: {found.told}")
                harmless += not found.told
        rig.notes.append(f"{len(DAMAGES) * len(files)} damages, {harmless} harmless")

    async def _copy(self, rig: Rig, to: Path) -> None:
        """Of a deployment that no process has open meanwhile."""
        await rig.index.close()
        await asyncio.to_thread(end, rig.folder / "index", signal.SIGTERM)

        def copy() -> None:
            for part in ("index", "blobs"):
                copied(rig.folder / part, to / part)
            for path in rig.folder.glob("log.sqlite*"):
                shutil.copy(path, to / path.name)

        await rig.reopen(copy)
        rig.index = index_at(rig.index_url)
        await rig.index.collections()


async def _kill(rig: Rig, victims: Sequence[WorkerProcess]) -> None:
    for victim in victims:
        victim.signal(signal.SIGKILL)
    for victim in victims:
        await rig.exited(victim)
