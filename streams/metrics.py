"""Every metric of the runtime: its name, unit and meaning. Labels are topics, stages, reasons; never user content.

Durations are seconds, sizes bytes, counters end in `_total` (the client adds it).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder

_FAST = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""One stage on one batch: from a dictionary lookup to a large model on a CPU."""
_SLOW = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
"""End to end, backlog included."""
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

WAITS = ("broker", "index", "blobs")
"""What any process may wait for; a series that is 0 from the start can be alerted on."""


class ProcessMetrics:
    """Those of every process, on the registry that is handed in, with `process_*` beside them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        ProcessCollector(registry=registry)
        self.build = Gauge(
            "sightline_build_info", "1; the label names the running version", ["version"], registry=registry
        )
        self.build.labels(_version()).set(1)
        self.retries = Counter(
            "sightline_retries", "Attempts repeated, by what was away or too large", ["what"], registry=registry
        )
        self.waiting = Gauge(
            "sightline_waiting",
            "1 while the process waits for it: broker, index, blobs, a stage, lost records, topics",
            ["what"],
            registry=registry,
        )
        self.left_over = Gauge(
            "sightline_left_over_records",
            "Unfinished records on a topic that the plan does not read",
            ["topic"],
            registry=registry,
        )
        self.absent_group = Gauge(
            "sightline_absent_group_records",
            "Records that a consumer group without members has held back for more than a day",
            ["group"],
            registry=registry,
        )
        self.retention_share = Gauge(
            "sightline_unfinished_retention_ratio",
            "Age of a group's oldest unfinished record as a share of its topic's retention; at 1 the broker drops it",
            ["group", "topic"],
            registry=registry,
        )
        self.storage = Gauge(
            "sightline_storage_bytes", "Bytes in use of log, pictures, index and disk", ["part"], registry=registry
        )
        self.storage_limit = Gauge(
            "sightline_storage_limit_bytes",
            "Limit of log, pictures and index, where there is one, and the size of the disk",
            ["part"],
            registry=registry,
        )
        for what in WAITS:
            self.retries.labels(what)
            self.waiting.labels(what)


class ServerMetrics:
    """Those of the page's server, beside the process' or a worker's on the same registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "sightline_http_requests",
            "Requests answered, by the route's pattern",
            ["route", "status"],
            registry=registry,
        )
        self.request_seconds = Histogram(
            "sightline_http_request_seconds",
            "From a request to the start of its answer",
            ["route"],
            buckets=_FAST,
            registry=registry,
        )


class AnalyticsMetrics(ProcessMetrics):
    """Those of the analytics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.observed = Counter(
            "sightline_analytics_records",
            "Records read from frames.observed: counted, or not (repeated, late or unreadable)",
            ["outcome"],
            registry=registry,
        )
        for outcome in ("counted", "not_counted"):
            self.observed.labels(outcome)

    def count(self, *, counted: bool) -> None:
        self.observed.labels("counted" if counted else "not_counted").inc()


class Metrics(ProcessMetrics):
    """Those of a worker; a process with several workers gives each its own registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.frames_in = Counter("sightline_frames_in", "Records taken from a topic", ["topic"], registry=registry)
        self.events_out = Counter(
            "sightline_events_out", "Records written and acknowledged", ["topic"], registry=registry
        )
        self.points_out = Counter(
            "sightline_points_out", "Points written to the index", ["collection"], registry=registry
        )
        self.dead = Counter("sightline_frames_dead", "Frames dead-lettered", ["stage", "reason"], registry=registry)
        self.skipped = Counter(
            "sightline_stages_skipped", "Stages left out for a frame", ["stage", "reason"], registry=registry
        )
        self.queue_seconds = Histogram(
            "sightline_stage_queue_seconds",
            "How long a batch waited for its stage",
            ["stage"],
            buckets=_FAST,
            registry=registry,
        )
        self.compute_seconds = Histogram(
            "sightline_stage_compute_seconds",
            "How long a stage computed on a batch",
            ["stage"],
            buckets=_FAST,
            registry=registry,
        )
        self.batch_frames = Histogram(
            "sightline_stage_batch_frames", "Frames per call of a stage", ["stage"], buckets=_SIZES, registry=registry
        )
        self.in_flight = Gauge("sightline_frames_in_flight", "Frames taken and not yet committed", registry=registry)
        self.in_flight_bytes = Gauge(
            "sightline_frames_in_flight_bytes", "Encoded originals of frames not yet committed", registry=registry
        )
        self.lag = Gauge(
            "sightline_lag_records", "Records not yet committed", ["topic", "partition"], registry=registry
        )
        self.latency_seconds = Histogram(
            "sightline_latency_seconds", "Ingested to published", buckets=_SLOW, registry=registry
        )
        self.live_latency_seconds = Histogram(
            "sightline_live_latency_seconds", "Captured to published", buckets=_SLOW, registry=registry
        )
        self.index_seconds = Histogram(
            "sightline_index_seconds", "Calls of the index", ["call"], buckets=_FAST, registry=registry
        )
        self.blob_seconds = Histogram(
            "sightline_blob_seconds", "Calls of the blob store", ["call"], buckets=_FAST, registry=registry
        )
        self.commit_seconds = Histogram(
            "sightline_commit_seconds", "Commits, the index's flush included", buckets=_FAST, registry=registry
        )
        self.drain_seconds = Histogram(
            "sightline_drain_seconds", "Finishing what is in flight", ["cause"], buckets=_FAST, registry=registry
        )
        self.rebalances = Counter(
            "sightline_rebalances", "Partitions assigned or revoked", ["change"], registry=registry
        )
        self.rebalance_seconds = Histogram(
            "sightline_rebalance_seconds",
            "Without partitions: from joining, or from being asked for the last of them, to an assignment",
            buckets=_FAST,
            registry=registry,
        )
        self.late = Counter(
            "sightline_late_completions",
            "Frames finished after their partition was taken away, and dropped",
            registry=registry,
        )
        self.load_seconds = Gauge(
            "sightline_stage_load_seconds", "Loading and warming up a stage", ["stage"], registry=registry
        )
        self.last_success = Gauge(
            "sightline_last_success_time_seconds", "When something was last committed, Unix time", registry=registry
        )
        self.loop_delay_seconds = Histogram(
            "sightline_event_loop_delay_seconds", "How late the event loop woke", buckets=_FAST, registry=registry
        )
        self.mean_cosine = Gauge(
            "sightline_recent_vectors_mean_cosine",
            "Mean cosine between recent frames' vectors; near 1 means a broken model or a frozen camera",
            ["vector"],
            registry=registry,
        )
        self.gpu_memory_bytes = Gauge(
            "sightline_gpu_memory_bytes", "Memory of the GPU held by this process; 0 without one", registry=registry
        )
        for what in ("lost records", "topics"):
            self.waiting.labels(what)
        for call in ("upsert", "delete", "flush"):
            self.index_seconds.labels(call)
        for call in ("get", "put"):
            self.blob_seconds.labels(call)
        for cause in ("stop", "revoke"):
            self.drain_seconds.labels(cause)
        for change in ("assigned", "revoked"):
            self.rebalances.labels(change)
        for what in ("absent_original", "bisect", "out_of_memory"):
            self.retries.labels(what)

    def declare(
        self, *, topic_in: str, topics_out: Iterable[str], stages: Iterable[str], collections: Iterable[str]
    ) -> None:
        """Series of a worker's own topics, stages and collections, which are 0 until something happens."""
        self.frames_in.labels(topic_in)
        for topic in topics_out:
            self.events_out.labels(topic)
        for stage in stages:
            for metric in (self.queue_seconds, self.compute_seconds, self.batch_frames, self.load_seconds):
                metric.labels(stage)
            for reason in ("stage_error", "out_of_memory"):
                self.dead.labels(stage, reason)
            self.skipped.labels(stage, "shed")
            self.retries.labels(f"stage {stage}")
            self.waiting.labels(f"stage {stage}")
        for collection in collections:
            self.points_out.labels(collection)


def exposition(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """The registry as text in the format that the header `Accept` asks for, and its `Content-Type`."""
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def gpu_memory_bytes() -> int:
    """Memory that torch holds on the GPU; 0 without a GPU, or while no stage has loaded torch."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return 0
    return int(torch.cuda.memory_allocated())


@cache
def _version() -> str:
    try:
        return version("sightline")
    except PackageNotFoundError:
        return "unknown"
