"""Our side of `bench.hop`: the unchanged worker with one stage, on `kafka://`.

python -m bench.hopping.ours BOOTSTRAP INTO OUT_OF GROUP [hop|plain|device|memory]
"""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from bench.hopping.work import STAGE
from processors.frame import Frame, Verdicts
from processors.stage import Lane
from stores.edge.client import EdgeIndex
from stores.edge.settings import EdgeSettings
from stores.folder import BlobFolder
from streams.backends import Backends
from streams.kafka.transport import KafkaTransport
from streams.metrics import Metrics
from streams.plan import Plan
from streams.worker.gc_tuning import collect_rarely
from streams.worker.instruments import worker_instruments
from streams.worker.segment import SegmentSpec
from streams.worker.settings import WorkerSettings
from streams.worker.worker import Worker

SETTINGS = WorkerSettings(name="bench", batch_frames=2048, in_flight_frames=32_768)
"""The best batch size, as for the hand-written loop: while one batch is acknowledged, others are computed."""
LIKE_MODELS = WorkerSettings(name="bench", batch_frames=32, in_flight_frames=256)


@dataclass(frozen=True)
class Hop:
    """The stage that every side runs."""

    name: ClassVar[str] = STAGE
    lane: ClassVar[Lane] = "cpu"
    requires: ClassVar[frozenset[str]] = frozenset()
    provides: ClassVar[frozenset[str]] = frozenset({"results"})

    def open(self, device: str) -> None: ...

    def process(self, frames: Sequence[Frame]) -> Verdicts:
        for frame in frames:
            frame.results[STAGE] = {"seen": True}
        return [None] * len(frames)

    def close(self) -> None: ...


DEVICE_SECONDS = 0.001
"""Per frame, on a device that leaves the processor free, as a GPU does."""


@dataclass(frozen=True)
class Device(Hop):
    """Takes time but no core."""

    lane: ClassVar[Lane] = "gpu"

    def process(self, frames: Sequence[Frame]) -> Verdicts:
        time.sleep(DEVICE_SECONDS * len(frames))
        return super().process(frames)


@dataclass(frozen=True)
class Remember(Hop):
    """Has state for each feed, as gate and track have."""

    def initial_state(self) -> list[int]:
        return [0]

    def process(self, frames: Sequence[Frame], states: Mapping[str, list[int]]) -> Verdicts:  # type: ignore[override]
        for frame in frames:
            states[frame.key][0] += 1
        return super().process(frames)


@dataclass(frozen=True)
class After(Hop):
    """The stage of the next segment, which does not run; it names the topic between the segments."""

    name: ClassVar[str] = "after"


@dataclass(frozen=True, slots=True)
class Named(Plan):
    """The plan with the topics of this round."""

    into: str = ""
    out_of: str = ""

    def topic_into(self, segment: int) -> str:
        return self.into if segment == 0 else self.out_of


STAGES: Mapping[str, tuple[type[Hop], WorkerSettings]] = {
    "hop": (Hop, SETTINGS),
    "plain": (Hop, SETTINGS),
    "device": (Device, LIKE_MODELS),
    "memory": (Remember, SETTINGS),
}


async def run(bootstrap: str, into: str, out_of: str, group: str, kind: str, folder: Path) -> None:
    stage, settings = STAGES[kind][0](), STAGES[kind][1]
    transport = KafkaTransport.from_url(f"kafka://{bootstrap}?compiled={str(kind != 'plain').lower()}")
    await transport.open()
    index, blobs = EdgeIndex(folder / "index", EdgeSettings()), BlobFolder(folder / "blobs")
    plan = Named(((STAGE,), ("after",)), into, out_of)
    spec = SegmentSpec(plan, 0, [stage], plan_stages={STAGE: stage, "after": After()})
    backends = Backends(transport, index, blobs)
    settings = replace(settings, group=group)
    worker = Worker(backends, spec, settings, worker_instruments(settings, Metrics(CollectorRegistry())))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
    collect_rarely()
    await worker.run()
    await index.close()
    await transport.close()


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="bench-hop-") as folder:
        bootstrap, into, out_of, group, *kind = sys.argv[1:]
        asyncio.run(run(bootstrap, into, out_of, group, (kind or ["hop"])[0], Path(folder)))


if __name__ == "__main__":
    main()
