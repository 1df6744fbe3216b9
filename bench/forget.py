"""How fast frames are erased: ids per second requested, and frames per second erased, over writing the same frames.

    python -m bench.forget [--frames N] [--profile FILE]

Frames with an original, a thumbnail, two records and a point each are written into an embedded log, a folder and an
embedded index. Then all but every tenth are requested by id, as `sightline forget --ids` does, and erased as a worker
does it, without the seconds for which it waits until every worker has read the request. `ratio_written` is the erased
frames per second over the written ones of the same run. `*_cpu_seconds` are those of this process per 1,000 frames,
which hardly depend on what else the machine does; the index has a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import hashlib
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
from prometheus_client import CollectorRegistry

from bench.report import report
from schemas import cloudevents, codec, points, topics
from schemas.cloudevents import ENRICHED_TYPE, RAW_TYPE, frame_headers
from schemas.events import FrameEvent, ImageRef
from schemas.identity import frame_id, partition_key
from stores.blobs import THUMBNAIL, blob_uri
from stores.edge.client import EdgeIndex
from stores.folder import BlobFolder
from stores.index import CollectionSpec, Filter, Match, Point
from stores.pages import pages
from streams.backends import Backends
from streams.clock import utc
from streams.lifecycle.deletion_copy import DeletionCopy
from streams.lifecycle.deletions import Deletions, publish_deletions
from streams.lifecycle.eraser import Eraser
from streams.lifecycle.erasure import Request, prove, requested_deletions
from streams.lifecycle.frame_search import FrameSelection, find_frames
from streams.metrics import Metrics
from streams.sources.uuid7 import uuid7
from streams.sqlite.transport import SqliteTransport
from streams.transport import NewRecord, TopicSpec
from streams.worker.instruments import worker_instruments
from streams.worker.settings import WorkerSettings
from streams.worker.sinks import DELETED_PER_CALL

FRAMES, BATCH, KEPT_EVERY, DIMENSION = 20_000, 500, 10, 16
COLLECTION = CollectionSpec(
    name=points.collection("frames", "bench"),
    vectors={points.SEMANTIC: DIMENSION},
    payload={"frame": "keyword", "feed": "keyword", "tenant": "keyword"},
)


def event(number: int, now: datetime) -> FrameEvent:
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    uri = blob_uri("default", "lobby", now.date(), digest)
    return FrameEvent(
        id=frame_id("default", "lobby", f"bench:{number}"),
        tenant="default",
        feed="lobby",
        kind="still",
        position=f"bench:{number}",
        ingested=now,
        image=ImageRef(
            format="jpeg", sha256=digest, size_bytes=5, width=64, height=48, uri=uri, thumbnail=uri + THUMBNAIL
        ),
    )


def records(each: FrameEvent) -> list[NewRecord]:
    key = partition_key(each.tenant, each.feed)
    raw = NewRecord(topics.RAW, key, codec.encode_frame(each), frame_headers(each, RAW_TYPE))
    headers = frame_headers(each, ENRICHED_TYPE, content_type=cloudevents.JSON)
    return [raw, NewRecord(topics.ENRICHED, key, codec.encode_frame(each, as_json=True), headers)]


async def write(backends: Backends, events: Sequence[FrameEvent]) -> None:
    """As sources and workers leave them."""
    vector = np.ones(DIMENSION, np.float32)
    await backends.index.ensure(COLLECTION)
    for page in pages(events, BATCH):
        contents = {each.image.uri: str(each.position.rpartition(":")[2]).encode() for each in page}
        contents |= {each.image.thumbnail: b"small" for each in page}
        await asyncio.gather(*(backends.blobs.put("default", uri, content) for uri, content in contents.items()))
        await backends.index.upsert(
            COLLECTION.name,
            [Point(id=each.id, vectors={points.SEMANTIC: vector}, payload=points.payload(each)) for each in page],
        )
        await backends.transport.publish([record for each in page for record in records(each)])
    await backends.index.flush()


async def request_erasure(backends: Backends, folder: Path, frames: Sequence[str]) -> str:
    """As `sightline forget --ids`; the request's id."""
    selection = FrameSelection(tenant="default", frames=frozenset(frames))
    found = await find_frames(backends, selection, time.time())
    known = await requested_deletions(backends.transport)
    request = Request(id=uuid7(time.time()), selection=selection, requested=utc(time.time()))
    deletions = request.deletions(found.frames, known)
    await DeletionCopy(folder).append(deletions)
    await publish_deletions(backends.transport, deletions)
    return request.id


async def erase(backends: Backends) -> None:
    """As a worker's loop, without its waits."""
    settings = WorkerSettings(model_set="bench")
    instruments = worker_instruments(settings, Metrics(CollectorRegistry()))
    deletions = Deletions(backends.transport)
    eraser = Eraser(backends, deletions, instruments.retry, instruments.clock, watch_seconds=0.0)
    deleted = await deletions.catch_up()
    await eraser.note(deleted)
    for page in pages(deleted, DELETED_PER_CALL):
        await backends.index.delete(COLLECTION.name, Filter(must=(Match(field="frame", any_of=tuple(page)),)))
    while deletions.pending:
        await eraser.erase()
        await deletions.catch_up()


async def run(folder: Path, frames: int) -> dict[str, float]:
    transport = SqliteTransport(folder / "log.sqlite")
    backends = Backends(transport, EdgeIndex(folder / "index"), BlobFolder(folder / "blobs"))
    try:
        await transport.open()
        await transport.create(
            [
                TopicSpec(name=topic.name, partitions=topic.partitions, compacted=topic.compacted)
                for topic in topics.declared(partitions=8)
            ]
        )
        now = datetime.now(UTC)
        events = [event(number, now) for number in range(frames)]
        meant = [each.id for number, each in enumerate(events) if number % KEPT_EVERY]
        marks = [_clocks()]
        await write(backends, events)
        marks.append(_clocks())
        request = await request_erasure(backends, folder, meant)
        marks.append(_clocks())
        await erase(backends)
        marks.append(_clocks())
        proof = await prove(backends, request)
        assert proof is not None, request
        assert proof.is_done, (len(proof.pending), len(proof.in_index), len(proof.on_log), len(proof.pictures))
        assert await backends.index.count(COLLECTION.name) == frames - len(meant)
    finally:
        await backends.blobs.close()
        await backends.index.close()
        await transport.close()
    (written, _), (requested, request_cpu), (erased, erase_cpu) = (
        (after[0] - before[0], after[1] - before[1]) for before, after in pairwise(marks)
    )
    both = len(meant) / (requested + erased)
    return {
        "requested_per_second": len(meant) / requested,
        "erased_per_second": len(meant) / erased,
        "ratio_written": (len(meant) / erased) / (frames / written),
        "ids_per_minute": 60 * both,
        "request_cpu_seconds": 1000 * request_cpu / len(meant),
        "erase_cpu_seconds": 1000 * erase_cpu / len(meant),
    }


def _clocks() -> tuple[float, float]:
    """Seconds that have passed, and those that this process has computed."""
    return time.perf_counter(), time.process_time()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--profile", help="write a profile of the run to this file, for `python -m pstats`")
    options = parser.parse_args()
    profile = cProfile.Profile()
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        if options.profile:
            profile.enable()
        figures = asyncio.run(run(Path(folder), options.frames))
        if options.profile:
            profile.disable()
            profile.dump_stats(options.profile)
    report(figures, frames=options.frames)


if __name__ == "__main__":
    main()
