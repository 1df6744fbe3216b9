"""Which frames of a feed were accepted before: a compacted topic that every ingest reads first.

One record per published batch holds 16 bytes per frame. Its key ends in the batch's first frame, so a batch that is
written twice takes the place of itself. See `docs/decisions/` for why ids and not "how far we were".
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from schemas import codec
from schemas.cloudevents import ACCEPTED_TYPE, headers
from schemas.events import Accepted
from schemas.topics import ACCEPTED
from streams.topic_reader import read_topic
from streams.transport import NewRecord, Record, Transport

_PAGE_RECORDS = 1_000


def id_bytes(frame: str) -> bytes:
    """A frame's id (a UUID's text) in 16 bytes."""
    return bytes.fromhex(frame.replace("-", ""))


async def accepted_before(transport: Transport, tenant: str, feed: str) -> set[bytes]:
    """Ids of all frames of the feed that sources have put on `frames.raw`. Raises Unavailable, PlanError."""
    prefix = _key(tenant, feed, "")
    ids: set[bytes] = set()
    async for record in read_topic(transport, ACCEPTED, page_records=_PAGE_RECORDS):
        if record.key.startswith(prefix) and record.value is not None:
            ids.update(_ids(record))
    return ids


def _ids(record: Record) -> Sequence[bytes]:
    frames = codec.decode_accepted(record.value, record.headers).frames
    return [frames[at : at + 16] for at in range(0, len(frames), 16)]


def acceptance(tenant: str, feed: str, frames: Sequence[str], now_seconds: float) -> NewRecord:
    """The record that says: these frames (ids, at least one) are on `frames.raw`."""
    accepted = Accepted(tenant=tenant, feed=feed, frames=b"".join(map(id_bytes, frames)))
    written = headers(
        ACCEPTED_TYPE, tenant=tenant, feed=feed, frame=frames[0], time=datetime.fromtimestamp(now_seconds, UTC)
    )
    return NewRecord(ACCEPTED, _key(tenant, feed, frames[0]), codec.encode_accepted(accepted), written)


def _key(tenant: str, feed: str, first_frame: str) -> bytes:
    return f"{tenant}/{feed}/{first_frame}".encode()
