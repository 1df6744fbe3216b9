"""The faults, as data: what befalls a deployment and when, on which logs, and what each of them proves."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.nemesis.acts import (
    KILLED,
    TERMINATED_TWICE,
    Accept,
    Act,
    BrokerIs,
    Cut,
    DieAt,
    DiskIs,
    Elsewhere,
    Freeze,
    Gone,
    IndexIs,
    KeptRunning,
    Mend,
    Outage,
    Progress,
    Refused,
    Signal,
    StageIs,
    Stopped,
    Stream,
    TearLog,
    Times,
    WeightsAre,
    Workers,
    WrongClock,
)
from tests.nemesis.recording import POINTS
from tests.nemesis.scene import Log

Need = Literal["root", "ip", "qdrant", "java"]
BOTH: tuple[Log, ...] = ("sqlite", "kafka")
MEBIBYTE = 1 << 20
BEYOND_SESSION_SECONDS = 5.0
"""Sessions of these brokers last 3 s, leases of the embedded log 2."""


@dataclass(frozen=True)
class Fault:
    proves: str
    schedule: Sequence[Act]
    on: Sequence[Log] = BOTH
    needs: Sequence[Need] = ()
    orders: Mapping[str, Any] = field(default_factory=dict)
    """What workers are told."""
    index: Literal["embedded", "server"] = "embedded"
    far: bool = False
    """The workers are at the other end of a line, with a broker of their own at this end."""
    small_disk_mebibytes: int = 0
    """The log lies on a file system of this size."""
    log_keys: Mapping[str, str] = field(default_factory=dict)
    """Of the log's URL, by log."""
    peak_mebibytes: int = 400
    """No worker may hold more."""
    deadline_seconds: float = 120.0
    """From the end of the schedule to lag 0."""
    finishes_with: int = 2
    """So many workers are there when it has to be finished, where the schedule left none."""


def _kills(point: str) -> Fault:
    return Fault(
        f"kill -9 {point}: whatever was half done is done again or was done whole",
        (Stream(40), Times((DieAt(point),)), Workers(2)),
    )


def _index_away(how: Sequence[Act], back: Sequence[Act], what: str) -> Fault:
    return Fault(
        f"the index {what}: workers wait, keep their partitions, and no frame dies of it",
        (Stream(20), Workers(2), Progress(20), *how, Outage(60), *back),
        index="server",
        needs=("qdrant",),
    )


def _cut(cut: Cut) -> Fault:
    return Fault(
        f"the line between workers and broker is cut ({cut.direction}) for longer than the session",
        (Stream(20), Elsewhere(2), Progress(20), cut, Outage(90, BEYOND_SESSION_SECONDS), Mend()),
        on=("kafka",),
        needs=("root", "ip", "java"),
        far=True,
    )


FAULTS: Mapping[str, Fault] = {
    **{f"kill-{point.replace(' ', '-')}": _kills(point) for point in POINTS},
    "sigterm": Fault(
        "SIGTERM under load: what is in flight is finished and committed, and the worker exits with 0",
        (Stream(40), Workers(2), Times((Progress(20), Signal(signal.SIGTERM), Gone([0]), Workers(2)), count=5)),
    ),
    "sigterm-twice": Fault(
        "a second SIGTERM ends a worker at once; its frames come again",
        (
            Stream(40),
            Workers(1, {"slow_seconds": 0.05}),
            Progress(1),
            Signal(signal.SIGTERM),
            Signal(signal.SIGTERM),
            Gone([TERMINATED_TWICE, 0]),
            Workers(2),
        ),
    ),
    "frozen": Fault(
        "SIGSTOP for longer than the session, then SIGCONT: the sleeper commits nothing that is no longer its own",
        (
            Stream(20),
            Workers(2),
            Progress(20),
            Freeze(),
            Outage(20, BEYOND_SESSION_SECONDS),
            Progress(1),
            Signal(signal.SIGCONT),
            Progress(20),
        ),
        log_keys={"sqlite": "lease_seconds=2"},
    ),
    "broker-killed": Fault(
        "the broker is killed and started again, five times: what it acknowledged is there",
        (
            Stream(20),
            Workers(2),
            Times((Progress(20), BrokerIs("killed"), Outage(5), BrokerIs("started"), Progress(1)), count=5),
        ),
        on=("kafka",),
        needs=("java",),
    ),
    "cut-off": _cut(Cut("both")),
    "cut-off-one-way": _cut(Cut("from the broker")),
    "index-killed": _index_away((IndexIs("killed"),), (IndexIs("started"),), "is killed and comes back"),
    "index-hanging": _index_away((IndexIs("hanging"),), (IndexIs("awake"),), "hangs"),
    "index-failing": _index_away((IndexIs("failing"),), (IndexIs("repaired"),), "refuses every call"),
    "slow-reader": Fault(
        "a worker ten times too slow: the log holds what it cannot take, its memory does not",
        (Workers(1, {"slow_seconds": 0.05}), Accept(1000, large=True), Outage(20), Workers(3)),
        orders={"in_flight_bytes": 16 * MEBIBYTE},
        peak_mebibytes=200,
        deadline_seconds=300,
    ),
    "disk-full": Fault(
        "the log's disk is full: it refuses frames, loses none, and goes on when there is room",
        (Stream(40), Workers(2), Progress(20), DiskIs("full"), Refused(), Outage(20), DiskIs("free")),
        on=("sqlite",),
        needs=("root",),
        small_disk_mebibytes=64,
    ),
    "clock-wrong": Fault(
        "three workers whose clocks are an hour early, an hour late and right: leases and sessions do not care",
        (Stream(20), WrongClock(3600.0), WrongClock(-3600.0), Workers(3), Progress(200)),
    ),
    "address-space": Fault(
        "a batch does not fit into the memory that a worker may have: it is halved until it does",
        (Accept(100), Workers(1, {"hungry_bytes": 150 * MEBIBYTE, "address_space_bytes": 1500 * MEBIBYTE})),
    ),
    "invalid-1-percent": Fault(
        "one frame in a hundred is invalid: it is dead, the others are not",
        (Workers(2), Accept(1000, {"invalid": 10})),
    ),
    "invalid-all": Fault(
        "every frame is invalid: all are dead, and nothing is left to do",
        (Workers(2), Accept(1000, {"invalid": 1000})),
    ),
    "unknown-errors": Fault(
        "a stage fails for every frame: the workers stop, unready, no frame dies, and a repair brings all of them back",
        (StageIs("broken"), Accept(500), Workers(2), Stopped("StageBroken"), StageIs("repaired")),
    ),
    "weights-wrong": Fault(
        "weights are missing, then spoilt: workers refuse to start, unready, and take no frame until they are right",
        (
            Accept(60),
            WeightsAre("missing"),
            Workers(1),
            Stopped("WrongWeights"),
            WeightsAre("spoilt"),
            Workers(1),
            Stopped("WrongWeights"),
            WeightsAre("shipped"),
        ),
        on=("sqlite",),
        peak_mebibytes=2000,
        deadline_seconds=300,
        finishes_with=1,
    ),
    "lethal-frame": Fault(
        "a frame kills its process: it is found and dead, and no other frame is blamed",
        (Accept(200, {"abort": 5}), KeptRunning(6)),
        deadline_seconds=240,
    ),
    "workers-1-4-1": Fault(
        "workers come and go under load: partitions move in peace, each feed stays in order",
        (Stream(40), Workers(1), Progress(20), Workers(4), Progress(40), Workers(1), Progress(20)),
    ),
    "torn-log": Fault(
        "power is cut in the middle of a write to the embedded log: what was acknowledged before it is there",
        (Stream(40), Workers(2), Progress(40), TearLog(), Accept(100)),
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
"""What `make test` plays, shortened: a minute or two."""

__all__ = ["BOTH", "FAULTS", "KILLED", "SHORT_SELECTION", "Fault"]
