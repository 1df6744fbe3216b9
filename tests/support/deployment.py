"""A small real deployment in a folder: embedded log, embedded index, blobs; and workers over it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from processors.stage import AnyStage
from schemas import codec, points, topics
from schemas.events import DeadLetter, FrameEvent, Kind
from schemas.identity import frame_id, partition_key, produced_position
from stores.edge.client import EdgeIndex
from stores.edge.settings import EdgeSettings
from stores.folder import BlobFolder
from stores.index import CollectionSpec, Filter
from streams.backends import Backends
from streams.clock import Clock
from streams.lifecycle.check import Findings, check
from streams.metrics import Metrics
from streams.plan import Plan
from streams.sqlite.transport import SqliteTransport
from streams.topic_reader import read_topic
from streams.transport import NewRecord, TopicSpec
from streams.worker.instruments import worker_instruments
from streams.worker.segment import SegmentSpec
from streams.worker.settings import WorkerSettings
from streams.worker.worker import Worker
from tests.support.fault_stages import DIMENSION, EMBEDDING_STAGES, commented
from tests.support.picture_headers import picture_headers
from tests.support.pictures import encoded, scene

PARTITIONS = 4
INDEX_IDLE_SECONDS = 5.0
FRAMES: points.PointKind = "frames"
REGIONS: points.PointKind = "regions"
DEADLINE_SECONDS = 90.0
"""For what hangs; a busy machine takes long for what takes a moment elsewhere."""
MODEL_SET = "scripted"
QUICK = WorkerSettings(model_set=MODEL_SET, backoff_seconds=0.01, backoff_max_seconds=0.05, commit_seconds=0.2)
PICTURE = encoded(scene(1, 32, 24))


def collections(dimension: int = DIMENSION) -> dict[str, CollectionSpec]:
    """Frames' and regions', by alias; indexed by frame alone, because every index of a field costs its making."""
    vectors = {points.SEMANTIC: dimension}
    return {
        of: CollectionSpec(name=points.collection(of, MODEL_SET), vectors=vectors, payload={"frame": "keyword"})
        for of in (FRAMES, REGIONS)
    }


def declared(between: Sequence[str] = ()) -> list[TopicSpec]:
    return [
        TopicSpec(
            name=topic.name,
            partitions=topic.partitions,
            compacted=topic.compacted,
            max_record_bytes=topic.max_record_bytes,
        )
        for topic in topics.declared(partitions=PARTITIONS, between_stages=between)
    ]


def fated(fate: str, *, feed: str = "lobby", kind: Kind = "still", number: int = 0) -> NewRecord:
    """A plain picture as any producer would put it on `frames.raw`; its comment names its fault."""
    source, identity = f"/tests/{feed}", f"{fate}-{number}"
    content = commented(PICTURE, f"{fate}#{number}")
    headers = picture_headers(source, identity, content_type="image/jpeg", kind=kind)
    return NewRecord(
        topics.RAW, partition_key("default", feed) if kind == "frame" else identity.encode(), content, headers
    )


def identity(record: NewRecord) -> str:
    source, name = record.headers["ce_source"].decode(), record.headers["ce_id"].decode()
    return frame_id("default", source.rpartition("/")[2], produced_position(source, name))


@dataclass
class Deployment:
    folder: Path
    index_folder: Path
    transport: SqliteTransport
    index: EdgeIndex
    blobs: BlobFolder
    metrics: Metrics = field(default_factory=lambda: Metrics(CollectorRegistry()))

    async def publish(self, records: Sequence[NewRecord]) -> None:
        await self.transport.publish(records)

    def worker(
        self,
        stages: Sequence[AnyStage],
        *,
        plan: Plan | None = None,
        segment: int = 0,
        settings: WorkerSettings = QUICK,
        plan_stages: Mapping[str, Any] | None = None,
        clock: Clock | None = None,
    ) -> Worker:
        spec = SegmentSpec(
            plan=plan or Plan((tuple(stage.name for stage in stages),)),
            number=segment,
            stages=stages,
            plan_stages=plan_stages or {},
            collections=collections(),
        )
        backends = Backends(self.transport, self.index, self.blobs)
        return Worker(backends, spec, settings, worker_instruments(settings, self.metrics, clock))

    async def drained(self, topic: str = topics.RAW, group: str = "sightline.fate") -> bool:
        return not any((await self.transport.group_lag(group, [topic])).values())

    async def findings(self) -> Findings:
        names = [spec.name for spec in collections().values()]
        return await check(self.transport, self.index, names, embedding_stages=EMBEDDING_STAGES)

    async def enriched(self) -> dict[str, FrameEvent]:
        """The last event of each frame."""
        found = [
            codec.decode_frame(one.value, one.headers).event
            async for one in read_topic(self.transport, topics.ENRICHED)
        ]
        return {event.id: event for event in found}

    async def letters(self) -> dict[str, DeadLetter]:
        found = [one async for one in read_topic(self.transport, topics.DEAD) if one.value]
        return {letter.id: letter for letter in (codec.decode_dead(one.value, one.headers) for one in found)}


@asynccontextmanager
async def deployed(
    folder: Path,
    *,
    between: Sequence[str] = (),
    index_folder: Path | None = None,
    fresh: bool = True,
    index_settings: EdgeSettings | None = None,
) -> AsyncIterator[Deployment]:
    """Opened in `folder`; `index_folder` is one that tests use one after the other, emptied where this is `fresh`."""
    async with AsyncExitStack() as stack:
        transport = SqliteTransport(folder / "log.sqlite")
        await transport.open()
        stack.push_async_callback(transport.close)
        await transport.create(declared(between))
        edge = index_settings or EdgeSettings(idle_seconds=INDEX_IDLE_SECONDS)
        index = EdgeIndex(index_folder or folder / "index", edge)
        stack.push_async_callback(index.close)
        for name in await index.collections() if fresh else ():
            await index.delete(name, Filter())
        blobs = BlobFolder(folder / "blobs")
        stack.push_async_callback(blobs.close)
        yield Deployment(folder, index_folder or folder / "index", transport, index, blobs)


@asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[asyncio.Task[None]]:
    """The running worker; stopped cleanly at the end. Raises the error that ended it before."""
    task = asyncio.create_task(worker.run())
    try:
        yield task
    finally:
        worker.stop()
        await asyncio.wait_for(task, DEADLINE_SECONDS)


async def until(
    condition: Callable[[], Any], task: asyncio.Task[None] | None = None, *, seconds: float = DEADLINE_SECONDS
) -> None:
    """Return when `condition` (a coroutine function or a function) holds; fails after the deadline or with the task."""
    async with asyncio.timeout(seconds):
        while True:
            holds = condition()
            if asyncio.iscoroutine(holds):
                holds = await holds
            if holds:
                return
            if task is not None and task.done():
                task.result()
                raise AssertionError("the worker ended before the condition held")
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(task) if task else asyncio.Event().wait(), 0.02)
