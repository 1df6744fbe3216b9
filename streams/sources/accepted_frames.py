"""The frames of a feed that sources have accepted: a compacted topic that every ingest reads first.

One record per published batch holds 16 bytes per frame. Its key ends in the first frame of the batch, so a batch that
is written twice replaces itself. The topic holds ids, not a position: see `docs/decisions/011-second-ingest.md`.
"""

from __future__ import annotations

from collections.abc import Sequence

from schemas import codec
from schemas.cloudevents import ACCEPTED_TYPE, headers
from schemas.events import Accepted
from schemas.topics import ACCEPTED
from streams.clock import utc
from streams.topic_reader import read_topic
from streams.transport import NewRecord, Record, Transport

_PAGE_RECORDS = 1_000
_ID_BYTES = 16


def id_bytes(frame: str) -> bytes:
    """A frame's id (a UUID's text) in 16 bytes."""
    return bytes.fromhex(frame.replace("-", ""))


async def accepted_frames(transport: Transport, tenant: str, feed: str) -> set[bytes]:
    """Ids of all frames of the feed that sources have put on `frames.raw`. Raises Unavailable, PlanError."""
    prefix = _key(tenant, feed, "")
    ids: set[bytes] = set()
    async for record in read_topic(transport, ACCEPTED, page_records=_PAGE_RECORDS):
        if record.key.startswith(prefix) and record.value is not None:
            ids.update(_ids(record))
    return ids


def _ids(record: Record) -> Sequence[bytes]:
    frames = codec.decode_accepted(record.value, record.headers).frames
    return [frames[start : start + _ID_BYTES] for start in range(0, len(frames), _ID_BYTES)]


def acceptance_record(tenant: str, feed: str, frames: Sequence[str], now_seconds: float) -> NewRecord:
    """The record of `frames` (ids, at least one) being on `frames.raw`."""
    accepted = Accepted(tenant=tenant, feed=feed, frames=b"".join(map(id_bytes, frames)))
    record_headers = headers(ACCEPTED_TYPE, tenant=tenant, feed=feed, frame=frames[0], time=utc(now_seconds))
    return NewRecord(ACCEPTED, _key(tenant, feed, frames[0]), codec.encode_accepted(accepted), record_headers)


def _key(tenant: str, feed: str, first_frame: str) -> bytes:
    return f"{tenant}/{feed}/{first_frame}".encode()
