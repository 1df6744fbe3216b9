"""Builds the parts of a worker from its settings. Nothing here opens, reads or starts anything."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from processors.stage import traits
from streams.backends import Backends
from streams.clock import Signal
from streams.lifecycle.deletions import Deletions
from streams.lifecycle.eraser import Eraser
from streams.lifecycle.storage_upkeep import StorageUpkeep, make_upkeep
from streams.readiness.probes import Probes
from streams.readiness.unfinished_watch import UnfinishedWatch
from streams.transport import Consumer, TopicSpec
from streams.worker.assignment import Assignments
from streams.worker.batch_runner import BatchRunner
from streams.worker.batcher import Batcher
from streams.worker.committer import Committer
from streams.worker.crash_tracker import CrashTracker
from streams.worker.dispatcher import Dispatcher
from streams.worker.frame_encoder import FrameEncoder
from streams.worker.gauges import Gauges
from streams.worker.instruments import Instruments
from streams.worker.lanes import Lanes
from streams.worker.offsets import OffsetTracker
from streams.worker.originals import Originals
from streams.worker.poller import POLLED_BATCHES, Poller
from streams.worker.segment import Segment, SegmentSpec
from streams.worker.settings import WorkerSettings
from streams.worker.sinks import Sinks
from streams.worker.stage_state import StageStates

Probe: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
"""Runs until it is cancelled."""


@dataclass(frozen=True, slots=True)
class Core:
    """What a worker has before it joins its group."""

    instruments: Instruments
    assignments: Assignments
    lanes: Lanes
    segment: Segment
    deletions: Deletions
    eraser: Eraser
    upkeep: StorageUpkeep | None


@dataclass(frozen=True, slots=True)
class LoopParts:
    """What the loop runs, once there is a consumer. The signals are what flows back: new frames, and room for more."""

    poller: Poller
    dispatcher: Dispatcher
    runner: BatchRunner
    committer: Committer
    sinks: Sinks
    gauges: Gauges
    probes: Sequence[Probe]
    arrived: Signal
    room_freed: Signal


def make_core(backends: Backends, spec: SegmentSpec, settings: WorkerSettings, instruments: Instruments) -> Core:
    clock = instruments.clock
    offsets = OffsetTracker()
    states = StageStates(offsets)
    lanes = Lanes(settings.cpu_threads)
    worker = settings.name or f"{socket.gethostname()}-{os.getpid()}"
    deletions = Deletions(backends.transport)
    return Core(
        instruments=instruments,
        assignments=Assignments(
            offsets=offsets,
            crashes=CrashTracker(settings.isolate_after, POLLED_BATCHES * settings.batch_frames),
            waiting=Batcher(
                clock,
                frames=settings.batch_frames,
                size_bytes=settings.batch_bytes,
                pixels=settings.batch_pixels,
                linger_seconds=settings.linger_seconds,
            ),
            states=states,
        ),
        lanes=lanes,
        segment=Segment(spec, lanes, states, settings.shed_first, worker, instruments),
        deletions=deletions,
        eraser=Eraser(backends, deletions, instruments.retry, clock, settings.watch_seconds),
        upkeep=_upkeep(backends, spec, settings, instruments),
    )


def _upkeep(
    backends: Backends, spec: SegmentSpec, settings: WorkerSettings, instruments: Instruments
) -> StorageUpkeep | None:
    if spec.storage is None:
        return None
    clock, retry, metrics = instruments.clock, instruments.retry, instruments.metrics
    return make_upkeep(backends, spec.storage, spec.plan, settings.group, clock, retry, metrics)


def make_loop_parts(
    core: Core,
    backends: Backends,
    spec: SegmentSpec,
    settings: WorkerSettings,
    consumer: Consumer,
    topics: Mapping[str, TopicSpec],
) -> LoopParts:
    """`topics` are those that exist; their record limits are checked before anything is written."""
    instruments, assignments = core.instruments, core.assignments
    arrived, room_freed = Signal(instruments.clock), Signal(instruments.clock)
    collections = [collection.name for collection in spec.collections.values()]
    sinks = Sinks(_encoder(spec, settings, topics), backends, core.deletions, collections, instruments)
    committer = Committer(consumer, assignments, sinks, room_freed, settings.commit_seconds, instruments)
    originals = Originals(backends.blobs, core.deletions, instruments.retry, instruments.metrics)
    runner = BatchRunner(originals, core.segment, sinks, committer, assignments, settings, instruments)
    return LoopParts(
        poller=Poller(consumer, core.segment.router, assignments, settings, instruments),
        dispatcher=Dispatcher(assignments, runner, arrived),
        runner=runner,
        committer=committer,
        sinks=sinks,
        gauges=Gauges(consumer, assignments.offsets, sinks.drift, instruments),
        probes=_probes(backends, spec, settings.group, collections, topics, instruments),
        arrived=arrived,
        room_freed=room_freed,
    )


def _probes(
    backends: Backends,
    spec: SegmentSpec,
    group_prefix: str,
    collections: Sequence[str],
    topics: Mapping[str, TopicSpec],
    instruments: Instruments,
) -> list[Probe]:
    probes = Probes(instruments.clock, instruments.retry)
    watch = UnfinishedWatch(backends.transport, instruments.clock, instruments.metrics, instruments.health)
    return [
        partial(probes.broker, backends.transport, spec.topic_in),
        partial(probes.topics, backends.transport, topics, (spec.topic_in, spec.topic_out)),
        partial(probes.blobs, backends.blobs),
        partial(watch.run, spec.plan, group_prefix),
        *(partial(probes.index, backends.index, name) for name in collections[:1]),
    ]


def _encoder(spec: SegmentSpec, settings: WorkerSettings, topics: Mapping[str, TopicSpec]) -> FrameEncoder:
    declared = {name: traits(stage).observed for name, stage in spec.shapes.items()}
    return FrameEncoder(
        topic=spec.topic_out,
        is_last=spec.is_last,
        model_set=settings.model_set,
        limits={name: topic.max_record_bytes for name, topic in topics.items()},
        inline_limit_bytes=settings.inline_limit_bytes,
        publish_embeddings=settings.publish_embeddings,
        observed={name: keys for name, keys in declared.items() if keys},
    )
