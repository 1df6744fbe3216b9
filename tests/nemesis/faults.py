"""The faults, as data: what is done to a deployment and when, on which logs, and what each fault proves."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.nemesis.action import Action, Produce, Repeat, Stream, Wait, WaitForProgress
from tests.nemesis.environment_actions import (
    CutLink,
    DamageEveryFile,
    RestoreLink,
    SetBroker,
    SetDisk,
    SetIndex,
    TearLog,
    WaitForRefusal,
)
from tests.nemesis.recording import POINTS
from tests.nemesis.rig import Log
from tests.nemesis.worker_actions import (
    TERMINATED_TWICE,
    FreezeWorker,
    RestartUntilDrained,
    RunRemoteWorkers,
    RunUntilKilledAt,
    RunWorkers,
    RunWorkerWithWrongClock,
    SendSignal,
    SetStage,
    SetWeights,
    WaitForExit,
    WaitForStop,
)

Need = Literal["root", "ip", "qdrant", "java"]
BOTH: tuple[Log, ...] = ("sqlite", "kafka")
MEBIBYTE = 1 << 20
BEYOND_SESSION_SECONDS = 5.0
"""Sessions of these brokers last 3 s, leases of the embedded log 2."""


@dataclass(frozen=True)
class Fault:
    proves: str
    schedule: Sequence[Action]
    on: Sequence[Log] = BOTH
    needs: Sequence[Need] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of all workers."""
    index: Literal["embedded", "server"] = "embedded"
    remote: bool = False
    """Workers and broker are at the two ends of a link; the broker is started for this fault alone."""
    small_disk_mebibytes: int = 0
    """Size of the log's file system; 0 is an ordinary folder."""
    log_keys: Mapping[str, str] = field(default_factory=dict)
    """Options of the log's URL, by log."""
    peak_mebibytes: int = 400
    """Most memory that a worker may take."""
    deadline_seconds: float = 120.0
    """From the end of the schedule to lag 0."""
    finishes_with: int = 2
    """Workers to start for the rest where the schedule leaves none running."""


def _kills(point: str) -> Fault:
    return Fault(
        f"kill -9 {point}: unfinished work is done again, finished work stands",
        (Stream(40), Repeat((RunUntilKilledAt(point),)), RunWorkers(2)),
    )


def _index_away(how: Sequence[Action], back: Sequence[Action], what: str) -> Fault:
    return Fault(
        f"the index {what}: workers wait, keep their partitions and dead-letter no frame",
        (Stream(20), RunWorkers(2), WaitForProgress(20), *how, Wait(60), *back),
        index="server",
        needs=("qdrant",),
    )


def _cut(cut: CutLink, what: str) -> Fault:
    return Fault(
        f"the link between workers and broker is cut ({what}) for longer than the session",
        (Stream(20), RunRemoteWorkers(2), WaitForProgress(20), cut, Wait(90, BEYOND_SESSION_SECONDS), RestoreLink()),
        on=("kafka",),
        needs=("root", "ip", "java"),
        remote=True,
    )


FAULTS: Mapping[str, Fault] = {
    **{f"kill-{point.replace(' ', '-')}": _kills(point) for point in POINTS},
    "sigterm": Fault(
        "SIGTERM under load: frames in flight are finished and committed, and the worker exits with 0",
        (
            Stream(40),
            RunWorkers(2),
            Repeat((WaitForProgress(20), SendSignal(signal.SIGTERM), WaitForExit([0]), RunWorkers(2)), count=5),
        ),
    ),
    "sigterm-twice": Fault(
        "a second SIGTERM ends a worker at once; its frames are delivered again",
        (
            Stream(40),
            RunWorkers(1, {"slow_seconds": 0.05}),
            WaitForProgress(1),
            SendSignal(signal.SIGTERM),
            SendSignal(signal.SIGTERM),
            WaitForExit([TERMINATED_TWICE, 0]),
            RunWorkers(2),
        ),
    ),
    "frozen": Fault(
        "SIGSTOP for longer than the session, then SIGCONT: the worker commits nothing of partitions that it has lost",
        (
            Stream(20),
            RunWorkers(2),
            WaitForProgress(20),
            FreezeWorker(),
            Wait(20, BEYOND_SESSION_SECONDS),
            WaitForProgress(1),
            SendSignal(signal.SIGCONT),
            WaitForProgress(20),
        ),
        log_keys={"sqlite": "lease_seconds=2"},
    ),
    "broker-killed": Fault(
        "the broker is killed and restarted five times: everything it acknowledged is there",
        (
            Stream(20),
            RunWorkers(2),
            Repeat(
                (WaitForProgress(20), SetBroker("killed"), Wait(5), SetBroker("started"), WaitForProgress(1)), count=5
            ),
        ),
        on=("kafka",),
        needs=("java",),
    ),
    "cut-off": _cut(CutLink("both"), "both directions"),
    "cut-off-one-way": _cut(CutLink("from the broker"), "from the broker"),
    "index-killed": _index_away((SetIndex("killed"),), (SetIndex("started"),), "is killed and restarted"),
    "index-hanging": _index_away((SetIndex("hanging"),), (SetIndex("resumed"),), "hangs"),
    "index-failing": _index_away((SetIndex("failing"),), (SetIndex("repaired"),), "refuses every call"),
    "slow-reader": Fault(
        "a worker is ten times too slow: the backlog stays in the log, not in its memory",
        (RunWorkers(1, {"slow_seconds": 0.05}), Produce(1000, large=True), Wait(20), RunWorkers(3)),
        options={"in_flight_bytes": 16 * MEBIBYTE},
        peak_mebibytes=200,
        deadline_seconds=300,
    ),
    "disk-full": Fault(
        "the log's disk is full: it refuses frames, loses none, and continues once there is space",
        (Stream(40), RunWorkers(2), WaitForProgress(20), SetDisk("full"), WaitForRefusal(), Wait(20), SetDisk("free")),
        on=("sqlite",),
        needs=("root",),
        small_disk_mebibytes=64,
    ),
    "clock-wrong": Fault(
        "three workers whose clocks are an hour ahead, an hour behind and right: leases and sessions are not affected",
        (
            Stream(20),
            RunWorkerWithWrongClock(3600.0),
            RunWorkerWithWrongClock(-3600.0),
            RunWorkers(3),
            WaitForProgress(200),
        ),
    ),
    "address-space": Fault(
        "a batch exceeds the worker's memory limit: it is halved until it fits",
        (Produce(100), RunWorkers(1, {"hungry_bytes": 150 * MEBIBYTE, "address_space_bytes": 1500 * MEBIBYTE})),
    ),
    "invalid-1-percent": Fault(
        "one frame in a hundred is invalid: it is dead, all others are enriched",
        (RunWorkers(2), Produce(1000, {"invalid": 10})),
    ),
    "invalid-all": Fault(
        "every frame is invalid: all are dead, and the lag reaches 0",
        (RunWorkers(2), Produce(1000, {"invalid": 1000})),
    ),
    "unknown-errors": Fault(
        "a stage fails for every frame: the workers stop, unready; no frame is dead; after a repair all are enriched",
        (SetStage("broken"), Produce(500), RunWorkers(2), WaitForStop("StageBroken"), SetStage("repaired")),
    ),
    "weights-wrong": Fault(
        "weights are missing, then corrupted: workers refuse to start, unready, and take no frame until they are right",
        (
            Produce(60),
            SetWeights("missing"),
            RunWorkers(1),
            WaitForStop("WrongWeights"),
            SetWeights("corrupted"),
            RunWorkers(1),
            WaitForStop("WrongWeights"),
            SetWeights("shipped"),
        ),
        on=("sqlite",),
        peak_mebibytes=2000,
        deadline_seconds=300,
        finishes_with=1,
    ),
    "lethal-frame": Fault(
        "a frame kills its process: it is found and dead, and no other frame is blamed",
        (Produce(200, {"abort": 5}), RestartUntilDrained(6)),
        deadline_seconds=240,
    ),
    "workers-1-4-1": Fault(
        "workers join and leave under load: partitions are handed over, and each feed stays in order",
        (
            Stream(40),
            RunWorkers(1),
            WaitForProgress(20),
            RunWorkers(4),
            WaitForProgress(40),
            RunWorkers(1),
            WaitForProgress(20),
        ),
    ),
    "torn-log": Fault(
        "power fails during a write to the embedded log: everything acknowledged before is there",
        (Stream(40), RunWorkers(2), WaitForProgress(40), TearLog(), Produce(100)),
        on=("sqlite",),
    ),
    "damaged-files": Fault(
        "every file of log, index and pictures is cut to half, and flipped in five places: named, or harmless",
        (Produce(4, {"invalid": 300}), RestartUntilDrained(0), DamageEveryFile()),
        on=("sqlite",),
    ),
}
SHORT_SELECTION: Sequence[tuple[str, Log]] = (
    ("kill-between-points-and-events", "sqlite"),
    ("kill-during-the-drain", "sqlite"),
    ("frozen", "sqlite"),
    ("index-failing", "sqlite"),
    ("torn-log", "sqlite"),
    ("broker-killed", "kafka"),
    ("cut-off-one-way", "kafka"),
)
"""What `make test` plays, shortened: one to two minutes."""
