"""The time from capture until a picture can be found: until its point is in the index, over Kafka.

    python -m bench.latency [--rounds N] [--fps N]

One broker, one worker (`sightline work`, the whole plan with the tiny models, nothing gated), and one camera with 10
pictures per second, ingested like any live source: blob, record, acknowledgement. A picture is searchable once the
index returns its point; the missing points are requested every 10 ms. `p95_seconds` is the median of the 95th
percentiles of the rounds, `p50_seconds` likewise. A first round for warm-up does not count. On shared cores the figure
also measures other programs: the breakdown has the load.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from bench.pipeline import CASES, pictures
from bench.report import report, spread, threads
from deploy.local.cluster import Cluster
from schemas import points
from schemas.events import Kind
from schemas.identity import DEFAULT_TENANT, frame_id, live_position
from sightline.config import Config, load
from sightline.wiring.build_worker import worker_settings
from sightline.wiring.parts import opened
from stores.index import Index
from streams.clock import SystemClock
from streams.sources.ingest import ingest
from streams.sources.source import Offer, Picture, Seen
from streams.sources.uuid7 import uuid7

FEED = "camera"
SECONDS = 15
LOOK_SECONDS = 0.01
DEADLINE_SECONDS = 120.0
TOML = """\
data = "{data}"
transport = "kafka://{bootstrap}"
partitions = 4
[stages.gate]
stages = []
[serve]
metrics_port = 0
"""


class Camera:
    """Offers each picture when it is due; `captured` has the time of capture by frame id."""

    kind: Kind = "frame"
    repeatable = False

    def __init__(self, shown: Sequence[bytes], fps: float, session: str) -> None:
        self._shown, self._fps, self._session = shown, fps, session
        self.captured: dict[str, float] = {}

    async def total(self) -> int | None:
        return len(self._shown)

    async def offers(self, seen: Seen) -> AsyncGenerator[Offer, None]:
        began = time.monotonic()
        for number, content in enumerate(self._shown):
            await asyncio.sleep(max(0.0, began + number / self._fps - time.monotonic()))
            position, now = live_position(self._session, number), time.time()
            self.captured[frame_id(DEFAULT_TENANT, FEED, position)] = now
            yield Picture(position, content, "jpeg", 320, 240, 90, datetime.fromtimestamp(now, UTC))


async def found(index: Index, collection: str, camera: Camera, frames: int) -> list[float]:
    """Seconds from capture until the point is in the index, for every frame."""
    known: set[str] = set()
    seconds: list[float] = []
    ends = time.monotonic() + DEADLINE_SECONDS
    while len(seconds) < frames and time.monotonic() < ends:
        missing = sorted(camera.captured.keys() - known)
        hits = await index.get(collection, missing) if missing else ()
        now = time.time()
        seconds += [now - camera.captured[hit.id] for hit in hits]
        known |= {hit.id for hit in hits}
        await asyncio.sleep(LOOK_SECONDS)
    if len(seconds) < frames:
        raise TimeoutError(f"{len(seconds)} of {frames} frames were searchable within {DEADLINE_SECONDS} s")
    return seconds


async def rounds(config: Config, count: int, fps: float) -> list[list[float]]:
    """The seconds of each round; a first round is discarded."""
    shown = pictures(CASES["cpu"][0])
    frames = [shown[number % len(shown)] for number in range(round(SECONDS * fps))]
    collection = points.collection("frames", worker_settings(config).model_set)
    measured = []
    async with opened(config) as parts:
        while collection not in await parts.index.collections():  # noqa: ASYNC110 - another process creates it
            await asyncio.sleep(0.2)
        for _ in range(count + 1):
            camera = Camera(frames, fps, uuid7(time.time()))
            ingesting = ingest(
                camera,
                transport=parts.transport,
                blobs=parts.blobs,
                tenant=DEFAULT_TENANT,
                feed=FEED,
                clock=SystemClock(),
            )
            _, seconds = await asyncio.gather(ingesting, found(parts.index, collection, camera, len(frames)))
            measured.append(seconds)
            print(f"p50 {median(seconds):.3f} s, p95 {percentile(seconds, 95):.3f} s", flush=True)
    return measured[1:]


def percentile(values: Sequence[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fps", type=float, default=10.0)
    arguments = parser.parse_args()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="bench-latency-") as folder:
        cluster = Cluster(Path(folder) / "kafka")
        cluster.start()
        file = Path(folder) / "sightline.toml"
        file.write_text(TOML.format(data=Path(folder) / "data", bootstrap=cluster.bootstrap))
        command = [str(Path(sys.executable).with_name("sightline")), "work", "--config", str(file)]
        worker = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            measured = asyncio.run(rounds(load(file, {}, {}), arguments.rounds, arguments.fps))
        finally:
            worker.terminate()
            worker.wait(60)
            cluster.stop()
    report(
        {f"p{percent}_seconds": median(percentile(seconds, percent) for seconds in measured) for percent in (95, 50)},
        rounds=[spread(seconds) for seconds in measured],
        frames_per_second=arguments.fps,
        threads=threads(),
        seconds=round(time.perf_counter() - begun, 1),
    )


if __name__ == "__main__":
    main()
