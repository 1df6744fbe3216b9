"""The embedded index through its process, over Qdrant Edge alone: `python -m bench.index`.

`ratio_upserts`: points per second through the index process over those of Edge in this process, with the same points in
batches of 256, one writer that waits for each answer, and a flush at the end of each round; the worse of one and two
named vectors of 512 numbers. `p99_ms`, `p99_filtered_ms`: searches among 100,000 points as the running system stores
them, optimized in the background, without and with a keyword filter that a tenth of the points match. `ratio_p99`: the
worse of the two over Edge alone on a copy of the same shard, in the same rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

import numpy as np
import qdrant_edge as edge

from bench.report import in_turns, median_ratio, report, spread, threads
from stores.edge import catalog
from stores.edge.client import EdgeIndex
from stores.edge.settings import EdgeSettings
from stores.edge.shard import create
from stores.index import CollectionSpec, Filter, Match, PayloadType, Point

SIZE = 512
BATCH = 256
BATCHES = 12
"""Upserts per round, about a third of a second: longer than a time slice, short enough for many rounds."""
FIELDS: dict[str, PayloadType] = {"feed": "keyword", "labels": "keyword", "captured": "datetime"}
FEEDS = 10
NEVER = 10**9
SETTLED_SECONDS = 480.0
"""Wait for the background optimization; it may not finish in time on a machine that others keep busy."""


def spec(*names: str) -> CollectionSpec:
    return CollectionSpec(name=f"frames-{len(names)}", vectors=dict.fromkeys(names, SIZE), payload=FIELDS)


def points(first: int, count: int, names: Sequence[str]) -> list[Point]:
    """`count` points of seeded random directions, the worst case for a graph index: no point is near another."""
    random = np.random.default_rng(first)
    vectors = {name: random.standard_normal((count, SIZE), dtype=np.float32) for name in names}
    return [
        Point(
            id=str(UUID(int=first + at)),
            vectors={name: vectors[name][at] for name in names},
            payload=payload(first + at),
        )
        for at in range(count)
    ]


def payload(number: int) -> dict[str, Any]:
    return {
        "feed": f"feed-{number % FEEDS}",
        "labels": [f"label-{number % 7}", f"label-{number % 50}"],
        "captured": f"2026-11-{number % 28 + 1:02d}T12:00:00Z",
        "caption": "a red circle above a blue square on a gray floor",
        "uri": f"blob:default/feed-{number % FEEDS}/2026-11-01/{number:064x}",
    }


class Alone:
    """Qdrant Edge in this process, with the same points, fields and searches."""

    def __init__(self, folder: Path, collection: CollectionSpec) -> None:
        if folder.exists():
            self._shard = edge.EdgeShard.load(str(folder))
            return
        self._shard = create(folder, collection)
        for field, kind in FIELDS.items():
            schema = getattr(edge.PayloadSchemaType, kind.title())
            self._shard.update(edge.UpdateOperation.create_field_index(field, schema))

    def upsert(self, batch: Sequence[Point]) -> None:
        converted = [
            edge.Point(each.id, {name: vector.tolist() for name, vector in each.vectors.items()}, each.payload)
            for each in batch
        ]
        self._shard.update(edge.UpdateOperation.upsert_points(converted))

    def flush(self) -> None:
        self._shard.flush()

    def search(self, vector: Any, feed: str) -> list[tuple[Any, float, Any]]:
        only = edge.FieldCondition(key="feed", match=edge.MatchAny([feed]))
        query = edge.QueryRequest(
            limit=10,
            query=edge.Query.Nearest(vector.tolist(), using="semantic"),
            filter=edge.Filter(must=[only]) if feed else None,
            with_payload=True,
        )
        return [(hit.id, hit.score, hit.payload) for hit in self._shard.query(query)]


def upserts(loop: asyncio.Runner, folder: Path, rounds: int, names: Sequence[str]) -> dict[str, list[float]]:
    """Points per second, through the process and alone."""
    wanted = spec(*names)
    index = EdgeIndex(folder / "index", EdgeSettings(optimize_points=NEVER))
    loop.run(index.ensure(wanted))
    alone = Alone(folder / f"alone-{len(names)}", wanted)
    written = dict.fromkeys(("through", "alone"), 0)

    def batches(side: str) -> list[list[Point]]:
        written[side] += 1
        fresh = points(written[side] * BATCHES * BATCH, BATCHES * BATCH, names)
        return [fresh[at : at + BATCH] for at in range(0, len(fresh), BATCH)]

    async def through(work: list[list[Point]]) -> None:
        for batch in work:
            await index.upsert(wanted.name, batch)
        await index.flush()

    def bare(work: list[list[Point]]) -> None:
        for batch in work:
            alone.upsert(batch)
        alone.flush()

    def rate(side: str, run: Callable[[list[list[Point]]], None]) -> Callable[[], float]:
        def measure() -> float:
            work = batches(side)
            began = time.perf_counter()
            run(work)
            return BATCHES * BATCH / (time.perf_counter() - began)

        return measure

    rates = in_turns(rounds, through=rate("through", lambda work: loop.run(through(work))), alone=rate("alone", bare))
    loop.run(index.close())
    return rates


def hold(loop: asyncio.Runner, folder: Path, count: int) -> tuple[EdgeIndex, dict[str, object]]:
    """Write `count` points and wait until the index has optimized them in the background."""
    index = EdgeIndex(folder)
    wanted = spec("semantic")
    loop.run(index.ensure(wanted))
    began = time.perf_counter()
    for at in range(0, count, 10 * BATCH):
        loop.run(index.upsert(wanted.name, points(at, min(10 * BATCH, count - at), ["semantic"])))
    loop.run(index.flush())
    written, first = time.perf_counter() - began, catalog.load(folder).collections[wanted.name].shard
    wait = SETTLED_SECONDS if count >= EdgeSettings().optimize_points else 0.0
    while not (settled := is_optimized(folder, wanted.name, first)) and time.perf_counter() - began < wait:
        time.sleep(0.5)
    seconds = round(time.perf_counter() - began, 1)
    return index, {"write_seconds": round(written, 1), "optimized": settled, "settled_seconds": seconds}


def is_optimized(folder: Path, name: str, first: str) -> bool:
    shards = sum(path.is_dir() for path in folder.glob("shard-*"))
    return shards == 1 and catalog.load(folder).collections[name].shard != first


def searches(
    loop: asyncio.Runner, index: EdgeIndex, alone: Alone, rounds: int, queries: int
) -> dict[str, dict[str, list[float]]]:
    """The 99th percentile of each round's searches in milliseconds, by kind and side."""
    vectors = np.random.default_rng(7).standard_normal((queries, SIZE), dtype=np.float32)
    feeds = [f"feed-{at % FEEDS}" for at in range(queries)]
    name = spec("semantic").name

    async def through(kind: str) -> float:
        taken = []
        for vector, feed in zip(vectors, feeds, strict=True):
            where = Filter(must=(Match(field="feed", any_of=(feed,)),)) if kind == "filtered" else None
            began = time.perf_counter()
            await index.search(name, "semantic", vector, where=where)
            taken.append(time.perf_counter() - began)
        return p99_milliseconds(taken)

    def bare(kind: str) -> float:
        taken = []
        for vector, feed in zip(vectors, feeds, strict=True):
            began = time.perf_counter()
            alone.search(vector, feed if kind == "filtered" else "")
            taken.append(time.perf_counter() - began)
        return p99_milliseconds(taken)

    sides = {
        kind: {"through": partial(lambda kind: loop.run(through(kind)), kind), "alone": partial(bare, kind)}
        for kind in ("plain", "filtered")
    }
    return {kind: in_turns(rounds, **both) for kind, both in sides.items()}


def p99_milliseconds(seconds: Sequence[float]) -> float:
    return float(np.percentile(seconds, 99)) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--queries", type=int, default=300)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-index-") as folder, asyncio.Runner() as loop:
        root = Path(folder)
        rates = {
            f"{len(names)} vectors": upserts(loop, root, arguments.rounds, names)
            for names in (("semantic",), ("semantic", "visual"))
        }
        index, held = hold(loop, root / "held", arguments.points)
        shard = catalog.load(root / "held").collections["frames-1"].shard
        shutil.copytree(root / "held" / shard, root / "copy")
        alone = Alone(root / "copy", spec("semantic"))
        percentiles = searches(loop, index, alone, arguments.rounds, arguments.queries)
        loop.run(index.close())
    report(
        {
            "ratio_upserts": min(median_ratio(rate["through"], rate["alone"]) for rate in rates.values()),
            "p99_ms": median(percentiles["plain"]["through"]),
            "p99_filtered_ms": median(percentiles["filtered"]["through"]),
            "ratio_p99": max(median_ratio(kind["through"], kind["alone"]) for kind in percentiles.values()),
        },
        points=arguments.points,
        held=held,
        upserts_per_second={
            kind: {side: spread(values) for side, values in sides.items()} for kind, sides in rates.items()
        },
        p99_milliseconds={
            kind: {side: spread(values) for side, values in sides.items()} for kind, sides in percentiles.items()
        },
        threads=threads(),
    )


if __name__ == "__main__":
    main()
