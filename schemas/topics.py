"""Topics by name: the type of their records, partitions, retention, compaction and record size."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct

from schemas import cloudevents

RAW = "frames.raw"
ENRICHED = "frames.enriched"
DEAD = "frames.dead"
OBSERVED = "frames.observed"
DELETIONS = "deletions"
KEPT = "kept"
TRIMMED = "trimmed"
ACCEPTED = "sources.accepted"
FEEDS = "feeds"
_BETWEEN = "frames.to."
_FRAMES = "frames."

MAX_RAW_BYTES = 4 << 20
"""A plain picture of another producer is one record: 4 MiB holds a 12-megapixel JPEG."""
MAX_EVENT_BYTES = 1 << 20
"""An internal event with a picture inline of up to 512 KiB, its vectors and masks."""
BATCH_OVERHEAD_BYTES = 4096
"""Kafka limits a batch, Sightline a record: a batch's header and a record's many headers fit in the difference."""
DEFAULT_PARTITIONS = 8
"""Of every frame topic, where the configuration names no other number."""
_SMALL_BYTES = 64 << 10
_FEED_PARTITIONS = 16
"""Feeds are assigned by partition: this is the maximum number of source processes, and a camera moves with its
partition."""
_DAY_SECONDS = 86_400.0


_NAMESPACE = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
"""No dot: it ends the namespace in `NAMESPACE.frames.raw`."""


def check_namespace(namespace: str) -> None:
    """Raises ValueError for one that is not allowed in the names of topics, groups and collections; "" is none."""
    if namespace and not _NAMESPACE.fullmatch(namespace):
        raise ValueError(f"namespace {namespace!r}: use 1 to 32 of a-z, 0-9, '_', '-', starting with a letter or digit")


class Topic(Struct, frozen=True, kw_only=True):
    """A topic's required configuration. `content_type` None: msgpack, JSON or a picture, by each record's header."""

    name: str
    event_type: str
    content_type: str | None
    partitions: int
    compacted: bool = False
    retention_seconds: float | None = None
    retention_bytes: int | None = None
    max_record_bytes: int = MAX_EVENT_BYTES


def between(stage: str) -> str:
    """The topic in front of a segment whose first new stage is `stage`."""
    return _BETWEEN + stage


def is_between(topic: str) -> bool:
    """Whether it is a topic in front of a segment other than the first, of whichever plan."""
    return topic.startswith(_BETWEEN)


def carries_frames(topic: str) -> bool:
    """Whether records of the topic hold or cite pictures."""
    return topic.startswith(_FRAMES) and topic != OBSERVED


def declared(
    *,
    partitions: int,
    between_stages: Sequence[str] = (),
    retention_seconds: float = 7 * _DAY_SECONDS,
    retention_bytes: int | None = None,
) -> tuple[Topic, ...]:
    """Every topic of a deployment. Frame topics share one partition count, so a feed keeps its order along a plan.

    `retention_seconds` bounds every topic that holds or cites pictures: it is the deadline of an erasure.
    """
    pixels = _Frames(partitions, retention_seconds, retention_bytes)
    msgpack, json = cloudevents.MSGPACK, cloudevents.JSON
    return (
        pixels.topic(RAW, cloudevents.RAW_TYPE, None, MAX_RAW_BYTES),
        *(pixels.topic(between(stage), cloudevents.SEGMENT_TYPE, msgpack, MAX_EVENT_BYTES) for stage in between_stages),
        pixels.topic(ENRICHED, cloudevents.ENRICHED_TYPE, json, MAX_EVENT_BYTES),
        pixels.topic(DEAD, cloudevents.DEAD_TYPE, msgpack, MAX_RAW_BYTES + _SMALL_BYTES),
        pixels.topic(OBSERVED, cloudevents.OBSERVED_TYPE, json, _SMALL_BYTES),
        _compacted(DELETIONS, cloudevents.DELETION_TYPE),
        _compacted(KEPT, cloudevents.KEPT_TYPE),
        _compacted(TRIMMED, cloudevents.TRIMMED_TYPE),
        _compacted(ACCEPTED, cloudevents.ACCEPTED_TYPE),
        _compacted(FEEDS, cloudevents.FEED_TYPE, _FEED_PARTITIONS),
    )


class _Frames(NamedTuple):
    """The configuration that all topics along a plan share."""

    partitions: int
    retention_seconds: float
    retention_bytes: int | None

    def topic(self, name: str, event_type: str, content_type: str | None, max_record_bytes: int) -> Topic:
        return Topic(
            name=name,
            event_type=event_type,
            content_type=content_type,
            partitions=self.partitions,
            retention_seconds=self.retention_seconds,
            retention_bytes=self.retention_bytes,
            max_record_bytes=max_record_bytes,
        )


def _compacted(name: str, event_type: str, partitions: int = 1) -> Topic:
    """A topic of small and rare records whose last value per key is kept: one partition is enough."""
    msgpack = cloudevents.MSGPACK
    return Topic(name=name, event_type=event_type, content_type=msgpack, partitions=partitions, compacted=True)
