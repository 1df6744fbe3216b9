"""The work of every side of `bench.hop` on a record: the same decoding, stage, encoding and headers.

Imports only the wire contracts, so that it also runs in an environment without the rest of Sightline.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256

from msgspec.structs import replace

from schemas import cloudevents, codec
from schemas.events import FrameEvent, ImageRef, TraceEntry
from schemas.identity import frame_id, live_position, partition_key
from schemas.topics import RAW, between

STAGE = "hop"
INTO, OUT_OF = RAW, between("after")
FEEDS = 16
ENTRY = TraceEntry(stage=STAGE, worker="bench", queue_seconds=0.012345, compute_seconds=0.001234, batch_size=2048)
"""As long as the entry that the worker writes with the times of every stage."""


def event(number: int, size_bytes: int, feeds: int = FEEDS) -> FrameEvent:
    """An event whose record value has about `size_bytes`, most of it the inline picture."""
    content = os.urandom(max(1, size_bytes - 423))
    feed, moment = f"camera-{number % feeds}", datetime(2026, 11, 21, 8, 0, 0, number % 1_000_000, tzinfo=UTC)
    position = live_position("01932d5c-7d00-7000-8000-000000000000", number)
    digest = sha256(content).hexdigest()
    return FrameEvent(
        id=frame_id("default", feed, position),
        tenant="default",
        feed=feed,
        kind="frame",
        position=position,
        ingested=moment,
        captured=moment,
        image=ImageRef(
            format="jpeg",
            sha256=digest,
            size_bytes=len(content),
            width=1920,
            height=1080,
            uri=f"blob:default/{feed}/2026-11-21/{digest}",
            quality=90,
            inline=content,
        ),
    )


def hop(value: bytes | None, headers: Mapping[str, bytes]) -> tuple[bytes, bytes, dict[str, bytes]]:
    """Key, value and headers of the outgoing record."""
    decoded = codec.decode_frame(value, headers)
    event = decoded.event
    done = replace(event, results={**event.results, STAGE: {"seen": True}}, trace=(*event.trace, ENTRY))
    written = cloudevents.frame_headers(done, cloudevents.SEGMENT_TYPE)
    return partition_key(done.tenant, done.feed), codec.encode_frame(done, extra=decoded.extra), written
