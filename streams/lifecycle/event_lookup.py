"""Finds one frame's event in the log: its point says when it was published, and a binary search finds that offset."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from schemas.codec import decode_frame
from schemas.errors import SchemaError
from schemas.events import FrameEvent
from schemas.identity import partition_key, partition_of
from schemas.topics import ENRICHED
from stores.errors import Missing
from stores.index import Index
from streams.topic_reader import read_range
from streams.transport import Partition, Record, Transport

SLACK_SECONDS = 120.0
"""A batch is stamped as published before it is appended; while the index is unavailable, long before."""
SCANNED_RECORDS = 4000
"""Records read from that offset on, and at each partition's end for a frame without a point."""
CHUNK_RECORDS = 200


async def find_payload(index: Index, collection: str, frame: str, tenant: str) -> dict[str, Any] | None:
    """The payload of the frame's point; None for a frame without a point or of another tenant."""
    try:
        hits = await index.get(collection, [frame])
    except Missing:
        return None
    return hits[0].payload if hits and hits[0].payload.get("tenant") == tenant else None


async def find_event(
    transport: Transport, frame: str, payload: dict[str, Any] | None, tenant: str
) -> FrameEvent | None:
    """The frame's last enriched event; None when retention has dropped it. Raises Unavailable."""
    if ENRICHED not in await transport.topics():
        return None
    ends = await transport.ends(ENRICHED)
    if payload is not None and payload.get("published"):
        key = partition_key(tenant, payload["feed"])
        partition = Partition(ENRICHED, partition_of(key, len(ends)))
        first, end = ends[partition]
        published = datetime.fromisoformat(payload["published"]).timestamp()
        start = await _first_since(transport, partition, (first, end), published - SLACK_SECONDS)
        if event := await _scan(transport, partition, (start, min(end, start + SCANNED_RECORDS)), frame):
            return event if event.tenant == tenant else None
    for partition, (first, end) in ends.items():
        if event := await _scan(transport, partition, (max(first, end - SCANNED_RECORDS), end), frame):
            return event if event.tenant == tenant else None
    return None


async def _first_since(transport: Transport, partition: Partition, span: tuple[int, int], seconds: float) -> int:
    """The first offset of `span` appended at or after `seconds` since the epoch, in some 20 reads."""
    low, high = span
    while low < high:
        middle = (low + high) // 2
        records = await transport.read(partition, middle, 1)
        if records and records[0].timestamp < seconds:
            low = max(middle, records[0].offset) + 1
        else:
            high = middle
    return low


async def _scan(transport: Transport, partition: Partition, span: tuple[int, int], frame: str) -> FrameEvent | None:
    """The last record about `frame` in `span`: of repeated deliveries the last one counts."""
    last: FrameEvent | None = None
    async for record in read_range(transport, partition, *span, page_records=CHUNK_RECORDS):
        if record.headers.get("ce_subject") == frame.encode():
            last = _event(record) or last
    return last


def _event(record: Record) -> FrameEvent | None:
    """None for what cannot be read, which Sightline did not write."""
    try:
        return decode_frame(record.value, record.headers).event
    except SchemaError:
        return None
