"""Plays one fault: arranges the scene, does what the schedule says, waits until all is done, and asks the checker."""

from __future__ import annotations

import shutil
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from deploy.local.cluster import VERSION, LocalKafkaError, jars
from tests.nemesis import network
from tests.nemesis.scene import FaultError, Log, Scale, Scene
from tests.nemesis.servers import Broker, Qdrant, mounted, unmounted
from tests.nemesis.table import FAULTS, MEBIBYTE, Fault
from tests.support.edge_folder import end

DEADLY = ("invalid", "abort", "abort_encoding")
"""Fates that end in a dead letter; whatever else is dead is innocent."""
NAMED_BREACHES = 3


@dataclass
class Row:
    """What is told of a fault."""

    fault: str
    log: Log
    verdict: Literal["kept", "BROKEN", "skipped"]
    accepted: int = 0
    enriched: int = 0
    dead: int = 0
    repeated: int = 0
    missing: int = 0
    recovery_seconds: float = 0.0
    peak_mebibytes: int = 0
    took_seconds: float = 0.0
    why: list[str] = field(default_factory=list)

    @property
    def plain(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Stage:
    """Where faults are played one after the other; a broker is started once for all that may share it."""

    folder: Path
    scale: Scale
    _broker: Broker | None = None

    async def play(self, name: str, log: Log) -> Row:
        """Never raises for what a fault does."""
        fault, began = FAULTS[name], time.monotonic()
        if lacking := _lacking(fault, log):
            return Row(name, log, "skipped", why=[lacking])
        row = Row(name, log, "BROKEN")
        try:
            async with self._arranged(name, fault, log) as scene:
                await _play(fault, scene, row)
        except (FaultError, TimeoutError, AssertionError) as error:
            row.verdict, row.why = "BROKEN", [*row.why, str(error) or type(error).__name__]
        row.took_seconds = round(time.monotonic() - began, 1)
        return row

    def end(self) -> None:
        if self._broker is not None:
            self._broker.end()

    @asynccontextmanager
    async def _arranged(self, name: str, fault: Fault, log: Log) -> AsyncIterator[Scene]:
        folder = self.folder / f"{name}-{log}"
        folder.mkdir(parents=True)
        async with AsyncExitStack() as stack:
            line = broker = qdrant = None
            if fault.far:
                line = network.Line()
                stack.callback(line.remove)
            if log == "kafka":
                broker = await self._broker_for(stack, folder, line)
            if fault.index == "server":
                qdrant = Qdrant(folder / "qdrant")
                stack.callback(qdrant.end)
                await qdrant.start()
            else:
                stack.callback(end, folder / "index")
            scene = Scene(
                folder=folder,
                log=log,
                log_url=_log_url(fault, folder, broker, stack),
                index_url=qdrant.url if qdrant else f"edge:{folder / 'index'}",
                scale=self.scale,
                group=name,
                broker=broker,
                qdrant=qdrant,
                line=line,
                orders=dict(fault.orders),
            )
            await scene.open()
            stack.push_async_callback(scene.close)
            yield scene

    async def _broker_for(self, stack: AsyncExitStack, folder: Path, line: network.Line | None) -> Broker:
        if line is not None:
            far = Broker(folder / "broker", host=line.host)
            stack.callback(far.end)
            await far.start()
            return far
        if self._broker is None:
            self._broker = Broker(self.folder / "broker")
            await self._broker.start()
        await self._broker.empty()
        return self._broker


def _log_url(fault: Fault, folder: Path, broker: Broker | None, stack: AsyncExitStack) -> str:
    if broker is not None:
        return broker.url
    place = folder
    if fault.small_disk_mebibytes:
        place = folder / "disk"
        mounted(place, fault.small_disk_mebibytes)
        stack.callback(unmounted, place)
    keys = fault.log_keys.get("sqlite", "")
    return f"sqlite:///{place / 'log.sqlite'}" + (f"?{keys}" if keys else "")


def _lacking(fault: Fault, log: Log) -> str:
    """The first tool that is missing, in words; nothing where all are there."""
    needs = {*fault.needs, *(("java",) if log == "kafka" else ())}
    found: Mapping[str, Any] = {
        "root": lambda: network.lacking(),
        "ip": lambda: network.lacking(),
        "qdrant": lambda: "" if shutil.which("qdrant") else "no `qdrant` on the path",
        "java": _no_broker,
    }
    return next((why for need in sorted(needs) if (why := found[need]())), "")


def _no_broker() -> str:
    try:
        jars(VERSION)
    except LocalKafkaError as error:
        return str(error)
    return ""


async def _play(fault: Fault, scene: Scene, row: Row) -> None:
    try:
        for act in fault.schedule:
            await act.do(scene)
    finally:
        row.why += scene.notes
        row.accepted = scene.load.accepted
    await scene.load.stop()
    began = time.monotonic()
    if not scene.workers and not await scene.drained():
        for _ in range(fault.finishes_with):
            await scene.start()
    await scene.until(scene.drained, "lag 0", fault.deadline_seconds)
    row.recovery_seconds = round(time.monotonic() - began, 1)
    codes = [await scene.stop(running) for running in list(scene.workers)]
    row.peak_mebibytes = scene.peak_bytes // MEBIBYTE
    await _judge(fault, scene, row, codes)


async def _judge(fault: Fault, scene: Scene, row: Row, codes: list[int]) -> None:
    findings, breaches = await scene.judged()
    row.accepted, row.enriched, row.dead = findings.accepted, findings.enriched, findings.dead
    row.repeated, row.missing = findings.repeated, len(findings.missing)
    wrong = breaches[:NAMED_BREACHES]
    if len(breaches) > NAMED_BREACHES:
        wrong.append(f"{len(breaches)} breaches in all")
    meant = sum(scene.load.fates[fate] for fate in DEADLY)
    if findings.dead != meant:
        wrong.append(f"{findings.dead} dead, {meant} were to die")
    if any(codes):
        wrong.append(f"told to stop, workers exited with {codes}")
    if row.peak_mebibytes > fault.peak_mebibytes:
        wrong.append(f"a worker held {row.peak_mebibytes} MiB, {fault.peak_mebibytes} are allowed")
    row.why += wrong
    row.verdict = "BROKEN" if wrong else "kept"
