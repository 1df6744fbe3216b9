"""The measurements of `bench.beside` that need Kafka; see `bench.versions.measures`.

Where a run has topics of its own, both versions share a broker, because two brokers are never equally fast.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bench.versions.scenario import COMMAND
from bench.versions.side import Figures, program

HOP_BYTES, HOP_RECORDS = 1024, 96_000
FEEDS, FEED_RECORDS = 200, 64_000
"""About two seconds, four times what the program uses."""
DEVICE_RECORDS = 6_400
FLOOD_SECONDS = 3.0
ATTEMPTS = 3
LATENCY_SECONDS = 6
LATENCY_FPS = 10.0


def prepare_hop(cluster: Any) -> None:
    """Fill the topic that both versions read."""
    bench = program("bench.hop")
    event = program("bench.hopping.work").event
    events = (event(number, HOP_BYTES) for number in range(HOP_RECORDS))
    asyncio.run(bench.fill(cluster, f"into-{HOP_BYTES}-{HOP_RECORDS}", events))


@contextmanager
def hop(bootstrap: str) -> Iterator[Callable[[], Figures]]:
    """1 KB events per second through our worker."""
    bench = program("bench.hop")
    runs = bench.Bench(_cluster(bootstrap), Path())
    yield lambda: {"events_per_second": runs.rate("ours", HOP_BYTES, HOP_RECORDS)}


def prepare_scale(cluster: Any) -> None:
    """Fill the topics that both versions read."""
    bench = program("bench.scale")
    asyncio.run(bench.make_raw(cluster))
    shared = bench.SHARED_PARTITIONS
    asyncio.run(bench.fill(cluster, "shared", bench.even_events(DEVICE_RECORDS, shared), shared))
    events = (bench.event(number, bench.EVENT_BYTES, FEEDS) for number in range(FEED_RECORDS))
    asyncio.run(bench.fill(cluster, "many-feeds", events, 1))


@contextmanager
def scale(bootstrap: str) -> Iterator[Callable[[], Figures]]:
    """Events per second of two workers, and with many feeds; latency of quiet feeds beside a flooding one."""
    bench = program("bench.scale")
    bench.DEVICE_RECORDS = DEVICE_RECORDS
    bench.FLOOD_SECONDS = FLOOD_SECONDS
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        runs = bench.Bench(_cluster(bootstrap), Path(folder))

        def measure() -> Figures:
            return {
                "two_workers": runs.shared_rate(2),
                "many_feeds": runs.rate("many-feeds", 1, FEED_RECORDS, "memory"),
                "flooded_p95_seconds": flooded(runs),
            }

        yield measure


def flooded(runs: Any) -> float:
    """Repeated on AttributeError: in 0.1.0 a small publish fails while a compiled batch of its partition is queued."""
    for _ in range(ATTEMPTS - 1):
        with suppress(AttributeError):
            return float(runs.p95(flooded=True))
    return float(runs.p95(flooded=True))


@contextmanager
def latency() -> Iterator[Callable[[], Figures]]:
    """Seconds from captured to searchable. Each version has its own broker and worker: topic names are fixed."""
    bench = program("bench.latency")
    bench.SECONDS = LATENCY_SECONDS
    with tempfile.TemporaryDirectory(prefix="bench-latency-", ignore_cleanup_errors=True) as folder:
        cluster = bench.Cluster(Path(folder) / "kafka")
        cluster.start()
        file = Path(folder) / "sightline.toml"
        file.write_text(bench.TOML.format(data=Path(folder) / "data", bootstrap=cluster.bootstrap))
        worker = subprocess.Popen([sys.executable, "-c", COMMAND, "work", "--config", str(file)])
        config = bench.load(file, {}, {})

        def measure() -> Figures:
            (seconds,) = asyncio.run(bench.rounds(config, 1, LATENCY_FPS))
            return {f"p{percent}_seconds": bench.percentile(seconds, percent) for percent in (95, 50)}

        try:
            yield measure
        finally:
            worker.terminate()
            worker.wait(60)
            cluster.stop()


def _cluster(bootstrap: str) -> Any:
    """The part of a cluster that the programs use."""
    return SimpleNamespace(bootstrap=bootstrap)
