"""The measurements of `bench.beside`: our side of each benchmark, at reduced sizes, by the functions of the program.

Each is a context manager that prepares and yields a function, which measures once within seconds. It uses only names
that the programs of both versions have. For figures named `…_seconds` and `…_mib` smaller is better; all others are
rates.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.versions.broker_measures import hop, latency, scale
from bench.versions.side import Figures, program

Measure = Callable[[], Figures]
Prepared = Callable[..., AbstractContextManager[Measure]]

BACKLOG = 100_000
BACKLOG_REPEATS = 4
POINTS = 20_000
QUERIES = 300
NEVER_OPTIMIZED = {"optimize_points", "optimise_points"}
"""The setting's name, which differs between versions."""
DECODE_REPEATS = 2
PIPELINE_FRAMES = 128
MEMORY_FRAMES = 320
SCENES, SEARCHES = 48, 24
SEED = 5


@contextmanager
def _folder() -> Iterator[Path]:
    """A temporary folder; index processes in it are ended before it is removed."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        yield folder
    finally:
        for lock in folder.rglob("index.lock"):
            with suppress(OSError, ValueError):
                os.kill(int(lock.read_text()), signal.SIGTERM)
        for _ in range(2):  # the index process may still write
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def log() -> Iterator[Measure]:
    """Events per second in every case of `bench.log`, and with a backlog."""
    log, backlog, work = program("bench.log"), program("bench.embedded.backlog"), program("bench.embedded.work")
    with _folder() as folder:
        asyncio.run(work.make_log(folder / "long.sqlite", 8, BACKLOG))

        def repeated(seconds: Callable[[], float]) -> float:
            return BACKLOG_REPEATS / sum(seconds() for _ in range(BACKLOG_REPEATS))

        def measure() -> Figures:
            rates = {
                f"processes_{processes}_partitions_{processes * partitions}": log.events_a_second(
                    folder, "ours", processes, partitions
                )
                for processes in (1, 2)
                for partitions in (1, 8 // processes)
            }
            long = folder / "long.sqlite"
            rates["backlog_publish"] = repeated(lambda: asyncio.run(backlog.published(long)))
            rates["backlog_consume"] = repeated(lambda: asyncio.run(backlog.consumed(long)))
            return rates

        yield measure


@contextmanager
def index() -> Iterator[Measure]:
    """Upserts per second with one and two vectors; the 99th percentile of searches, plain and filtered."""
    bench = program("bench.index")
    with _folder() as folder, asyncio.Runner() as loop:
        field = next(name for name in bench.EdgeSettings.__struct_fields__ if name.startswith("optimi"))
        opened = bench.EdgeIndex(folder / "index", bench.EdgeSettings(**{field: bench.NEVER}))
        specs = [bench.spec(*names) for names in (("semantic",), ("semantic", "visual"))]
        for spec in specs:
            loop.run(opened.ensure(spec))
        searched = bench.CollectionSpec(name="searched", vectors=specs[0].vectors, payload=bench.FIELDS)
        loop.run(opened.ensure(searched))
        for first in range(0, POINTS, bench.BATCH):
            loop.run(opened.upsert("searched", bench.points(first, bench.BATCH, ["semantic"])))
        loop.run(opened.flush())
        vectors = bench.np.random.default_rng(7).standard_normal((QUERIES, bench.SIZE), dtype="float32")

        async def upserted(name: str, batches: list[Any]) -> float:
            began = time.perf_counter()
            for batch in batches:
                await opened.upsert(name, batch)
            await opened.flush()
            return sum(map(len, batches)) / (time.perf_counter() - began)

        async def searches(where: Any) -> float:
            taken = []
            for vector in vectors:
                began = time.perf_counter()
                await opened.search("searched", "semantic", vector, where=where)
                taken.append(time.perf_counter() - began)
            return float(bench.np.percentile(taken, 99))

        def measure() -> Figures:
            found = {}
            for spec in specs:
                numbers = range(bench.BATCHES)  # the same points each time, so the collection does not grow
                batches = [bench.points(at * bench.BATCH, bench.BATCH, list(spec.vectors)) for at in numbers]
                found[f"upserts_{len(spec.vectors)}_vectors"] = loop.run(upserted(spec.name, batches))
            only = bench.Filter(must=(bench.Match(field="feed", any_of=("feed-3",)),))
            found["p99_seconds"] = loop.run(searches(None))
            found["p99_filtered_seconds"] = loop.run(searches(only))
            return found

        yield measure
        loop.run(opened.close())


@contextmanager
def decode() -> Iterator[Measure]:
    """Pictures per second of the decode stage; frames per second of the video source, before and after encoding."""
    bench, video = program("bench.decode"), program("bench.video")
    bench.cv2.setNumThreads(1)
    runs = {}
    for width, height in bench.SIZES:
        jpegs = bench.pictures(width, height, 48 if width > 1000 else 192)
        runs[f"jpeg_{height}"] = (len(jpegs), bench.stage_run(jpegs, 0))
        runs[f"jpeg_{height}_with_thumbnail"] = (len(jpegs), bench.stage_run(jpegs, 320))
    with _folder() as folder:
        path = folder / "bench.mp4"
        video.make_video(path)
        runs["video"] = (video.FRAMES, lambda: video.decoding_seconds(video.decode_frames(path)))
        runs["video_encoded"] = (video.FRAMES, lambda: asyncio.run(video.encoding_seconds(path)))

        def measure() -> Figures:
            return {
                name: count * DECODE_REPEATS / sum(run() for _ in range(DECODE_REPEATS))
                for name, (count, run) in runs.items()
            }

        yield measure


@contextmanager
def pipeline() -> Iterator[Measure]:
    """Frames per second of a warm worker, whole plan, tiny models, from publishing to the last commit."""
    bench = program("bench.pipeline")
    case = bench.Case("tiny", PIPELINE_FRAMES, 16, (320, 240))
    with _folder() as folder, _running_loop() as run:
        config, frames = bench.configuration(case, "cpu", folder), bench.pictures(case)
        registry = program("prometheus_client").CollectorRegistry()
        opened = bench.opened(config)
        parts = run(opened.__aenter__())
        worker = bench.Pipeline(parts, bench.build_worker(parts, 0, registry), frames, registry)
        run(worker.start())
        yield lambda: {"frames_per_second": len(frames) / run(worker.run(run(worker.records())))}
        run(worker.stop())
        run(opened.__aexit__(None, None, None))


@contextmanager
def _running_loop() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """Runs coroutines on a loop that also runs between calls: a worker without heartbeats loses its partitions."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield lambda coroutine: asyncio.run_coroutine_threadsafe(coroutine, loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextmanager
def memory() -> Iterator[Measure]:
    """Peak memory of a fresh process that ingests and processes enough frames to fill every buffer."""

    def measure() -> Figures:
        with _folder() as folder:
            command = [sys.executable, "-W", "ignore", "-m", "bench.memory", "--child", str(MEMORY_FRAMES), str(folder)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return {"peak_mib": float(json.loads(done.stdout.splitlines()[-1])["peak_mib"])}

    yield measure


@contextmanager
def search() -> Iterator[Measure]:
    """Queries with negatives per second, re-ranking included; how many allowed pictures they show."""
    bench, parse = program("bench.search"), program("search.query").parse
    with _folder() as folder, asyncio.Runner() as loop:
        filled = bench.Bench(folder)
        pictures = loop.run(filled.fill("frames-many", [bench.search_scene(SEED, number) for number in range(SCENES)]))
        cases = bench.negatives(bench.np.random.default_rng(SEED), pictures, SEARCHES)
        searcher = filled.searcher("frames-many")

        async def shown(text: str) -> set[str]:
            result = await searcher.search(parse(text, now=datetime.now(UTC), limit=bench.TOP))
            return {hit.id for hit in result.hits}

        async def run() -> Figures:
            began = time.perf_counter()
            hits = [await shown(case.text) for case in cases]
            seconds = time.perf_counter() - began
            pairs = list(zip(cases, hits, strict=True))
            return {
                "queries_per_second": len(cases) / seconds,
                "allowed_shown": sum(len(case.allowed & ids) for case, ids in pairs),
                "none_forbidden": float(not any(case.forbidden & ids for case, ids in pairs)),
            }

        yield lambda: loop.run(run())
        searcher.close()
        loop.run(filled.close())


MEASURES: dict[str, Prepared] = {
    "log": log,
    "index": index,
    "decode": decode,
    "pipeline": pipeline,
    "memory": memory,
    "search": search,
    "hop": hop,
    "scale": scale,
    "latency": latency,
}
