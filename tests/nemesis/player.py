"""Plays a fault: prepares the rig, runs the schedule, waits for lag 0, and judges histories and final state."""

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
from tests.nemesis.faults import FAULTS, MEBIBYTE, Fault
from tests.nemesis.rig import ExpectationError, Log, Rig, Scale
from tests.nemesis.servers import Broker, Qdrant, mount, unmount
from tests.support.edge_folder import end

DEADLY = ("invalid", "abort", "abort_encoding")
"""Fates that end in a dead letter; every other frame has to be enriched."""
NAMED_BREACHES = 3
"""More are only counted."""


@dataclass
class Result:
    """What a fault led to, and what the table shows of it."""

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
    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Player:
    """Plays faults one after the other; those that may share a broker do."""

    folder: Path
    scale: Scale
    _broker: Broker | None = None

    async def play(self, name: str, log: Log) -> Result:
        """What a fault breaks is in the result, never an exception."""
        fault, began = FAULTS[name], time.monotonic()
        if lacking := _lacking(fault, log):
            return Result(name, log, "skipped", why=[lacking])
        result = Result(name, log, "BROKEN")
        try:
            async with self._prepared(name, fault, log) as rig:
                await _play(fault, rig, result)
        except (ExpectationError, TimeoutError, AssertionError) as error:
            result.verdict, result.why = "BROKEN", [*result.why, str(error) or type(error).__name__]
        result.took_seconds = round(time.monotonic() - began, 1)
        return result

    def close(self) -> None:
        if self._broker is not None:
            self._broker.end()

    @asynccontextmanager
    async def _prepared(self, name: str, fault: Fault, log: Log) -> AsyncIterator[Rig]:
        folder = self.folder / f"{name}-{log}"
        folder.mkdir(parents=True)
        async with AsyncExitStack() as stack:
            link = broker = qdrant = None
            if fault.remote:
                link = network.Link()
                stack.callback(link.remove)
            if log == "kafka":
                broker = await self._broker_for(stack, folder, link)
            if fault.index == "server":
                qdrant = Qdrant(folder / "qdrant")
                stack.callback(qdrant.end)
                await qdrant.start()
            else:
                stack.callback(end, folder / "index")
            rig = Rig(
                folder=folder,
                log=log,
                log_url=_log_url(fault, folder, broker, stack),
                index_url=qdrant.url if qdrant else f"edge:{folder / 'index'}",
                scale=self.scale,
                group=name,
                broker=broker,
                qdrant=qdrant,
                link=link,
                options=dict(fault.options),
            )
            await rig.open()
            stack.push_async_callback(rig.close)
            yield rig

    async def _broker_for(self, stack: AsyncExitStack, folder: Path, link: network.Link | None) -> Broker:
        if link is not None:
            own = Broker(folder / "broker", host=link.host)
            stack.callback(own.end)
            await own.start()
            return own
        if self._broker is None:
            self._broker = Broker(self.folder / "broker")
            await self._broker.start()
        await self._broker.empty()
        return self._broker


def _log_url(fault: Fault, folder: Path, broker: Broker | None, stack: AsyncExitStack) -> str:
    if broker is not None:
        return broker.url
    if fault.small_disk_mebibytes:
        folder = folder / "disk"
        mount(folder, fault.small_disk_mebibytes)
        stack.callback(unmount, folder)
    keys = fault.log_keys.get("sqlite", "")
    return f"sqlite:///{folder / 'log.sqlite'}" + (f"?{keys}" if keys else "")


def _lacking(fault: Fault, log: Log) -> str:
    """Why the fault cannot be played on this machine; empty if it can."""
    needs = {*fault.needs, *(("java",) if log == "kafka" else ())}
    checks: Mapping[str, Any] = {
        "root": lambda: network.lacking(),
        "ip": lambda: network.lacking(),
        "qdrant": lambda: "" if shutil.which("qdrant") else "`qdrant` is not on the path",
        "java": _no_broker,
    }
    return next((why for need in sorted(needs) if (why := checks[need]())), "")


def _no_broker() -> str:
    try:
        jars(VERSION)
    except LocalKafkaError as error:
        return str(error)
    return ""


async def _play(fault: Fault, rig: Rig, result: Result) -> None:
    try:
        for action in fault.schedule:
            await action.run(rig)
    finally:
        result.why += rig.notes
        result.accepted = rig.workload.accepted
    await rig.workload.stop()
    began = time.monotonic()
    if not rig.workers and not await rig.drained():
        for _ in range(fault.finishes_with):
            await rig.start()
    await rig.until(rig.drained, "lag 0", fault.deadline_seconds)
    result.recovery_seconds = round(time.monotonic() - began, 1)
    codes = [await rig.stop(process) for process in list(rig.workers)]
    result.peak_mebibytes = rig.peak_bytes // MEBIBYTE
    await _judge(fault, rig, result, codes)


async def _judge(fault: Fault, rig: Rig, result: Result, codes: list[int]) -> None:
    findings, breaches = await rig.judged()
    result.accepted, result.enriched, result.dead = findings.accepted, findings.enriched, findings.dead
    result.repeated, result.missing = findings.repeated, len(findings.missing)
    wrong = breaches[:NAMED_BREACHES]
    if len(breaches) > NAMED_BREACHES:
        wrong.append(f"{len(breaches)} breaches in all")
    expected = sum(rig.workload.fates[fate] for fate in DEADLY)
    if findings.dead != expected:
        wrong.append(f"{findings.dead} frames dead, {expected} expected")
    if any(codes):
        wrong.append(f"workers stopped by SIGTERM exited with {codes}")
    if result.peak_mebibytes > fault.peak_mebibytes:
        wrong.append(f"a worker took {result.peak_mebibytes} MiB, {fault.peak_mebibytes} MiB are allowed")
    result.why += wrong
    result.verdict = "BROKEN" if wrong else "kept"
