"""The cost of one hop on Kafka: our worker, a hand-written loop, a Faust agent and quixstreams.

    python -m bench.hop [--rounds N] [--sizes 1024,20480] [--sides ours,plain,raw,faust,quixstreams]

One broker (`deploy/local/kafka.py`), one topic of 1 KB events and one of 20 KB events with four partitions, filled
once. Every side reads it from the beginning in a new group, decodes each record with `schemas.codec`, adds one result
and one trace entry, encodes, makes the headers, sends to a topic of its own acknowledged by all replicas, and commits
twice a second. `ours` is the unchanged worker (`streams.worker`), `plain` the same without compiled code. quixstreams
has an environment of its own in `build/`.

A side's rate comes from the broker's clock: the times at which it appended the output, from a fifth of the records to
the last, so that start-up and joining the group do not count. Sides run in turns in processes of their own. `over_raw`,
`over_faust`, `over_quixstreams` and `over_plain` are medians of the rounds' ratios at 1 KB, `…_20kb` at 20 KB.
`compiled` is false without a C compiler; then `ours` is plain too. The hand-written loop runs at the best of several
batch sizes, which are tried before the first round.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from bench.hopping.work import event
from bench.report import in_turns, median_ratio, report, spread, threads
from deploy.local.cluster import Cluster
from schemas import cloudevents, codec
from schemas.events import FrameEvent
from schemas.identity import partition_key
from streams.kafka.compiled.wire import wire
from streams.kafka.transport import KafkaTransport
from streams.transport import NewRecord

PARTITIONS = 4
BATCHES = (256, 512, 1024, 2048)
RECORDS = {1024: 192_000, 20_480: 24_000}
"""Enough that what a side has read ahead at the start of its time hardly counts."""
FAUST_PART = 12
"""Faust gets this many times fewer records: it is slower by more than that."""
WARM_PART = 5
DEADLINE_SECONDS = 240.0
ROOT = Path(__file__).parents[1]
QUIX_VERSION = "3.28.1"


@dataclass(frozen=True)
class Bench:
    """One broker with its topics, which are named for the size and number of their events."""

    cluster: Cluster
    quix: Path

    def rate(self, side: str, size: int, count: int, *arguments: str) -> float:
        """Events per second of one side, in a process and with an output topic of its own."""
        return asyncio.run(self._rate(side, size, count, arguments))

    async def _rate(self, side: str, size: int, count: int, arguments: tuple[str, ...]) -> float:
        name, into = f"{side}-{uuid4().hex[:8]}", f"into-{size}-{count}"
        await make_topic(self.cluster, name)
        process = self._start(side, into, name, arguments)
        try:
            times = await appended(self.cluster, name, count, writers=[process])
        finally:
            process.terminate()
            try:
                await asyncio.to_thread(process.wait, 30)
            except subprocess.TimeoutExpired:
                process.kill()
        await drop_topic(self.cluster, name)
        rate = rate_of(times)
        print(f"{side:12} {size:6} bytes {rate:9.0f}/s", flush=True)
        return rate

    def _start(self, side: str, into: str, name: str, arguments: tuple[str, ...]) -> subprocess.Popen[bytes]:
        module = {"ours": "ours", "raw": "raw", "faust": "faust_agent", "quixstreams": "quix"}[side]
        python = str(self.quix) if side == "quixstreams" else sys.executable
        command = [python, "-W", "ignore", "-m", f"bench.hopping.{module}", self.cluster.bootstrap, into, name, name]
        # frameworks print much when they are stopped
        output = None if os.environ.get("SHOW") else subprocess.DEVNULL
        return subprocess.Popen([*command, *arguments], cwd=ROOT, stdout=output, stderr=output)


def rate_of(times: Sequence[int]) -> float:
    """Events per second after the first fifth; `times` are milliseconds, in order."""
    warm = times[len(times) // WARM_PART]
    return sum(1 for at in times if at > warm) / ((times[-1] - warm) / 1000)


async def appended(
    cluster: Cluster,
    topic: str,
    count: int,
    partitions: int = PARTITIONS,
    writers: Sequence[subprocess.Popen[bytes]] = (),
) -> list[int]:
    """The times at which the broker appended each of `count` records of a topic, in milliseconds, in order.

    Raises TimeoutError if they do not arrive before the deadline, or if a writer exits.
    """
    assigned = [TopicPartition(topic, number) for number in range(partitions)]
    reader = AIOKafkaConsumer(bootstrap_servers=cluster.bootstrap, max_partition_fetch_bytes=8 << 20)
    await reader.start()
    ends = time.monotonic() + DEADLINE_SECONDS
    try:
        while sum((await reader.end_offsets(assigned)).values()) < count:
            ended = [writer.args for writer in writers if writer.poll() is not None]
            if ended or time.monotonic() > ends:
                arrived = sum((await reader.end_offsets(assigned)).values())
                raise TimeoutError(f"{topic}: {arrived} of {count} records arrived; exited writers: {ended}")
            await asyncio.sleep(0.25)
        reader.assign(assigned)
        await reader.seek_to_beginning(*assigned)
        times: list[int] = []
        while len(times) < count:
            for records in (await reader.getmany(timeout_ms=1000)).values():
                times += [record.timestamp for record in records]
        return sorted(times)
    finally:
        await reader.stop()


async def make_topic(cluster: Cluster, name: str, partitions: int = PARTITIONS) -> None:
    """Create a topic with the broker's append times, so that no side's own clock or batching counts."""
    configs = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": str(8 << 20)}
    admin = AIOKafkaAdminClient(bootstrap_servers=cluster.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs)])
    await admin.close()


async def drop_topic(cluster: Cluster, name: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=cluster.bootstrap)
    await admin.start()
    await admin.delete_topics([name])
    await admin.close()


async def fill(cluster: Cluster, name: str, events: Iterator[FrameEvent], partitions: int = PARTITIONS) -> None:
    """Create a topic and publish these events."""
    await make_topic(cluster, name, partitions)
    transport = KafkaTransport.from_url(f"kafka://{cluster.bootstrap}")
    await transport.open()
    while batch := list(islice(events, 500)):
        await transport.publish(
            [
                NewRecord(
                    name,
                    partition_key(each.tenant, each.feed),
                    codec.encode_frame(each),
                    cloudevents.frame_headers(each, cloudevents.RAW_TYPE),
                )
                for each in batch
            ]
        )
    await transport.close()


def quix_python() -> Path:
    """The interpreter of quixstreams' environment, which is created at first use."""
    folder = ROOT / "build" / "quix"
    python = folder / "bin" / "python"
    if not python.exists():
        uv = [sys.executable, "-m", "uv"]
        subprocess.run([*uv, "venv", "-q", str(folder)], check=True)
        packages = [f"quixstreams=={QUIX_VERSION}", "msgspec", "numpy"]
        subprocess.run([*uv, "pip", "install", "-q", "--python", str(python), *packages], check=True)
    return python


def compared(bench: Bench, size: int, rounds: int, sides: list[str]) -> dict[str, object]:
    count = RECORDS[size]
    for records in (count, count // FAUST_PART):
        asyncio.run(fill(bench.cluster, f"into-{size}-{records}", (event(number, size) for number in range(records))))
    tried = {batch: bench.rate("raw", size, count, str(batch)) for batch in BATCHES}
    best = max(tried, key=lambda batch: tried[batch])
    calls = {
        "ours": partial(bench.rate, "ours", size, count),
        "plain": partial(bench.rate, "ours", size, count, "plain"),
        "raw": partial(bench.rate, "raw", size, count, str(best)),
        "faust": partial(bench.rate, "faust", size, count // FAUST_PART),
        "quixstreams": partial(bench.rate, "quixstreams", size, count),
    }
    rates = in_turns(rounds, **{side: calls[side] for side in sides})
    ratios = {side: median_ratio(rates["ours"], rates[side]) for side in sides if side != "ours"}
    return {
        "ratios": ratios,
        "batch_by_hand": best,
        "events_per_second": {side: spread(values) for side, values in rates.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--sizes", default="1024,20480")
    parser.add_argument("--sides", default="ours,plain,raw,faust,quixstreams")
    arguments = parser.parse_args()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="bench-hop-") as folder:
        cluster = Cluster(Path(folder) / "kafka")
        cluster.start()
        try:
            bench = Bench(cluster, quix_python())
            sizes = [int(size) for size in arguments.sizes.split(",")]
            cases = {size: compared(bench, size, arguments.rounds, arguments.sides.split(",")) for size in sizes}
        finally:
            cluster.stop()
    figures = {
        f"over_{side}{'' if size == 1024 else '_20kb'}": ratio
        for size, case in cases.items()
        for side, ratio in case["ratios"].items()  # type: ignore[attr-defined]
    }
    seconds = round(time.perf_counter() - begun, 1)
    report(figures, compiled=wire is not None, cases=cases, threads=threads(), seconds=seconds)


if __name__ == "__main__":
    main()
