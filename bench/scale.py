"""How workers share a topic, what many feeds cost, and whether a flooding feed delays the others.

    python -m bench.scale [--rounds N]

One broker, the unchanged worker (`bench.hopping.ours`), rates by the broker's append times as in `bench.hop`.

`ratio_two_workers`: two processes over one, on a topic with eight partitions of equally many records, from the time
when all have joined their group to the last record. Python's start-up and the distribution of feeds over partitions are
not part of the question. The stage keeps a device busy for a millisecond per frame but no core, as a GPU would: broker,
sources and workers share two cores, so a computing stage would measure the cores.
`ratio_200_feeds`: 200 feeds over one, the same frames on one partition, with a stage that has state for each feed.
`ratio_flooded_p95`: eight feeds at 10 frames per second are ingested as by sources and processed by the worker above. A
ninth offers 50 times as much to a source that accepts 20 per second of it. The 95th percentile of the others' latency
(from ingested to appended after the worker), with the flood over without it.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import uuid4

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from bench.hop import appended, drop_topic, fill, make_topic, rate_of
from bench.hopping.work import event
from bench.latency import percentile
from bench.report import in_turns, median_ratio, report, spread, threads
from deploy.local.cluster import Cluster
from schemas import codec, topics
from schemas.events import FrameEvent, Kind
from schemas.identity import DEFAULT_TENANT, live_position, partition_key, partition_of
from stores.folder import BlobFolder
from streams.clock import SystemClock
from streams.kafka.transport import KafkaTransport
from streams.sources.ingest import IngestSettings, ingest
from streams.sources.source import Offer, Picture, Seen
from streams.sources.uuid7 import uuid7
from streams.transport import Partition, TopicSpec

ROOT = Path(__file__).parents[1]
EVENT_BYTES = 1024
SHARED_PARTITIONS, FEEDS_OF_PARTITION = 8, 8
DEVICE_RECORDS, FEED_RECORDS = 12_800, 16_000
QUIET_FEEDS, QUIET_FPS = 8, 10.0
FLOOD_TIMES, FLOOD_LIMIT_FPS = 50, 20.0
FLOOD_SECONDS = 8.0
PICTURE = bytes(1000)


@dataclass(frozen=True)
class Bench:
    cluster: Cluster
    folder: Path

    @contextmanager
    def workers(self, count: int, into: str, out_of: str, stage: str) -> Iterator[list[subprocess.Popen[bytes]]]:
        """`count` processes of one group; terminated on exit."""
        module = [sys.executable, "-W", "ignore", "-m", "bench.hopping.ours"]
        command = [*module, self.cluster.bootstrap, into, out_of, out_of, stage]
        quiet = subprocess.DEVNULL
        processes = [subprocess.Popen(command, cwd=ROOT, stdout=quiet, stderr=quiet) for _ in range(count)]
        try:
            yield processes
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(60)

    def rate(self, into: str, partitions: int, count: int, stage: str) -> float:
        """Events per second of one worker."""
        rate = rate_of(asyncio.run(self._append_times(1, into, partitions, count, stage))[0])
        print(f"{into}: {rate:.0f}/s", flush=True)
        return rate

    def shared_rate(self, workers: int) -> float:
        """Events per second of `workers` processes on the shared topic, once all have joined their group."""
        measuring = self._append_times(workers, "shared", SHARED_PARTITIONS, DEVICE_RECORDS, "device")
        times, joined = asyncio.run(measuring)
        begun = max(joined, times[0])
        rate = sum(1 for at in times if at > begun) / ((times[-1] - begun) / 1000)
        print(f"{workers} workers: {rate:.0f}/s from {(begun - times[0]) / 1000:.1f} s on", flush=True)
        return rate

    async def _append_times(
        self, workers: int, into: str, partitions: int, count: int, stage: str
    ) -> tuple[list[int], float]:
        """When each record was appended after the workers, and when the last worker had joined; milliseconds."""
        name = f"out-{uuid4().hex[:8]}"
        await make_topic(self.cluster, name, partitions)
        with self.workers(workers, into, name, stage) as writers:
            times, joined = await asyncio.gather(
                appended(self.cluster, name, count, partitions, writers), self._joined(f"{name}.hop", workers)
            )
        await drop_topic(self.cluster, name)
        return times, joined

    async def _joined(self, group: str, workers: int) -> float:
        """The time (Unix milliseconds) at which `workers` members share the group's partitions."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.cluster.bootstrap)
        await admin.start()
        try:
            while True:
                with suppress(GroupCoordinatorNotAvailableError):  # the broker's first group
                    ((_, _, state, _, _, members),) = (await admin.describe_consumer_groups([group]))[0].groups
                    if state == "Stable" and len(members) == workers:
                        return 1000 * time.time()
                await asyncio.sleep(0.05)
        finally:
            await admin.close()

    def p95(self, *, flooded: bool) -> float:
        """95th percentile of the quiet feeds' seconds from ingested to appended after the worker."""
        name = f"out-{uuid4().hex[:8]}"
        asyncio.run(make_topic(self.cluster, name, 4))
        with self.workers(1, topics.RAW, name, "device"):
            seconds = asyncio.run(self._latencies(name, flooded=flooded))
        asyncio.run(drop_topic(self.cluster, name))
        print(f"{'flooded' if flooded else 'quiet'}: p95 {percentile(seconds, 95):.3f} s of {len(seconds)}", flush=True)
        return percentile(seconds, 95)

    async def _latencies(self, out_of: str, *, flooded: bool) -> list[float]:
        transport = KafkaTransport.from_url(f"kafka://{self.cluster.bootstrap}")
        await transport.open()
        blobs = BlobFolder(self.folder / "blobs")
        quiet = [Camera(f"quiet-{number}", QUIET_FPS) for number in range(QUIET_FEEDS)]
        cameras = [*quiet, *([Camera("flood", FLOOD_TIMES * QUIET_FPS)] if flooded else [])]
        limits = {"flood": FLOOD_LIMIT_FPS}
        for _ in range(2):  # the worker starts and joins its group during the first pass, which does not count
            began = time.time()
            await asyncio.gather(
                *(
                    ingest(
                        camera,
                        transport=transport,
                        blobs=blobs,
                        tenant=DEFAULT_TENANT,
                        feed=camera.feed,
                        clock=SystemClock(),
                        settings=IngestSettings(frames_per_second=limits.get(camera.feed)),
                    )
                    for camera in cameras
                )
            )
            await self._drained(transport, out_of)
        seconds = await _seconds(transport, out_of, began)
        await transport.close()
        return seconds

    async def _drained(self, transport: KafkaTransport, group: str) -> None:
        while sum((await transport.group_lag(f"{group}.hop", [topics.RAW])).values()):  # noqa: ASYNC110 - others work
            await asyncio.sleep(0.1)


async def _seconds(transport: KafkaTransport, topic: str, began: float) -> list[float]:
    seconds = []
    for partition, (first, end) in (await transport.ends(topic)).items():
        for record in await transport.read(Partition(topic, partition.index), first, max(1, end - first)):
            frame = codec.decode_frame(record.value, record.headers).event
            if frame.feed.startswith("quiet") and frame.ingested.timestamp() >= began:
                seconds.append(record.timestamp - frame.ingested.timestamp())
    return seconds


def even_feeds(partitions: int, each: int) -> list[int]:
    """Numbers of feeds of `bench.hopping.work`, `each` of them for every partition."""
    by_partition: dict[int, list[int]] = {partition: [] for partition in range(partitions)}
    for number in range(100 * partitions * each):
        key = partition_key(DEFAULT_TENANT, f"camera-{number}")
        by_partition[partition_of(key, partitions)].append(number)
    return [number for numbers in by_partition.values() for number in numbers[:each]]


def even_events(records: int, partitions: int) -> Iterator[FrameEvent]:
    """Events, equally many on every partition."""
    feeds = even_feeds(partitions, FEEDS_OF_PARTITION)
    known = max(feeds) + 1
    for turn in range(records // len(feeds)):
        for feed in feeds:
            yield event(turn * known + feed, EVENT_BYTES, known)


class Camera:
    """Offers `fps` pictures per second for `FLOOD_SECONDS`, in a new session each time it is read."""

    kind: Kind = "frame"
    repeatable = False

    def __init__(self, feed: str, fps: float) -> None:
        self.feed, self._fps = feed, fps

    async def total(self) -> int | None:
        return None

    async def offers(self, seen: Seen) -> AsyncGenerator[Offer, None]:
        session, began = uuid7(time.time()), time.monotonic()
        for number in range(round(self._fps * FLOOD_SECONDS)):
            await asyncio.sleep(max(0.0, began + number / self._fps - time.monotonic()))
            yield Picture(live_position(session, number), PICTURE, "jpeg")


async def make_raw(cluster: Cluster) -> None:
    transport = KafkaTransport.from_url(f"kafka://{cluster.bootstrap}")
    await transport.open()
    await transport.create([TopicSpec(topics.RAW, 4), TopicSpec(topics.OBSERVED, 4)])
    await transport.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    begun = time.perf_counter()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-scale-")))
        cluster = Cluster(folder / "kafka")
        cluster.start()
        stack.callback(cluster.stop)
        bench = Bench(cluster, folder)
        asyncio.run(make_raw(cluster))
        asyncio.run(fill(cluster, "shared", even_events(DEVICE_RECORDS, SHARED_PARTITIONS), SHARED_PARTITIONS))
        for name, feeds in (("one-feed", 1), ("many-feeds", 200)):
            shown = (event(number, EVENT_BYTES, feeds) for number in range(FEED_RECORDS))
            asyncio.run(fill(cluster, name, shown, 1))
        measured = in_turns(
            arguments.rounds,
            one=partial(bench.shared_rate, 1),
            two=partial(bench.shared_rate, 2),
            one_feed=partial(bench.rate, "one-feed", 1, FEED_RECORDS, "memory"),
            many_feeds=partial(bench.rate, "many-feeds", 1, FEED_RECORDS, "memory"),
            quiet=partial(bench.p95, flooded=False),
            flooded=partial(bench.p95, flooded=True),
        )
    report(
        {
            "ratio_two_workers": median_ratio(measured["two"], measured["one"]),
            "ratio_200_feeds": median_ratio(measured["many_feeds"], measured["one_feed"]),
            "ratio_flooded_p95": median_ratio(measured["flooded"], measured["quiet"]),
        },
        breakdown={name: spread(values) for name, values in measured.items()},
        threads=threads(),
        seconds=round(time.perf_counter() - begun, 1),
    )


if __name__ == "__main__":
    main()
