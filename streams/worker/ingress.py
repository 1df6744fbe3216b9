"""From a record to a frame in flight. What cannot be read is a dead frame from the start, and takes the same way."""

from __future__ import annotations

from datetime import tzinfo

from msgspec.structs import replace

from processors.description import describe
from processors.frame import Frame, thaw
from schemas import codec
from schemas.errors import NewerMajor, Undecodable
from schemas.events import ImageRef
from schemas.identity import DEFAULT_TENANT, unknown_frame_id
from schemas.times import appended
from streams.errors import NewerVersion
from streams.lifecycle.dead_letters import REPLAYED_HEADER
from streams.plan import GIVEN
from streams.transport import Record
from streams.worker.in_flight import Death, InFlightFrame
from streams.worker.route import Mode, Route, Router

STAGE = "codec"
"""Stands as `stage` in the dead letters of records that cannot be read."""
UNKNOWN_FEED = "unknown"
CLAIMED_BYTES = 500
"""What a dead letter repeats of each header of a record that cannot be read: enough to find its producer."""


def decode_record(
    record: Record, router: Router, *, ready_at: float, repeated: bool, zone: tzinfo | None = None
) -> InFlightFrame:
    """The frame of `record`, with its route. `zone` is that of EXIF dates without one; None: the machine's.

    Raises NewerVersion, for which the worker stops.
    """
    try:
        decoded = _decoded(record)
    except Undecodable as error:
        return _unreadable(record, error, ready_at)
    except NewerMajor as error:
        partition = record.partition
        raise NewerVersion(f"{partition.topic}[{partition.index}] at {record.offset}: {error}") from error
    frame = thaw(decoded.event)
    frame.extra = decoded.extra
    if decoded.picture is not None:
        frame.original = decoded.picture
    if frame.original is not None and not frame.image.width:
        _describe(frame, frame.original, zone)
    route = router.route(frame)
    return InFlightFrame(
        record=record,
        frame=frame,
        route=route,
        size_bytes=max(len(record.value or b""), frame.image.size_bytes),
        ready_at=ready_at,
        fields=route.fields,
        repeated=repeated or REPLAYED_HEADER in record.headers,
    )


def _decoded(record: Record) -> codec.Decoded:
    """Raises Undecodable, NewerMajor."""
    if record.fault:
        raise Undecodable("unreadable_batch", record.fault)
    return codec.decode_frame(record.value, record.headers, appended_seconds=record.timestamp)


def _describe(frame: Frame, original: bytes, zone: tzinfo | None) -> None:
    """Add what the picture says of itself. When its producer says it was captured counts before EXIF."""
    said = describe(original, zone, frame.ingested)
    frame.image = replace(frame.image, width=said.width, height=said.height)
    if frame.kind == "still" and frame.captured is None:
        frame.captured = said.taken


def _claimed_origin(record: Record) -> str:
    """What an unreadable record says of its producer: `ce_source` and `ce_id`, whatever they hold."""
    claims = (record.headers.get(name, b"")[:CLAIMED_BYTES].decode(errors="replace") for name in ("ce_source", "ce_id"))
    return " ".join(filter(None, claims))


def _unreadable(record: Record, error: Undecodable, ready_at: float) -> InFlightFrame:
    """A frame that is dead already; its id is made of topic, partition and offset."""
    frame = Frame(
        id=unknown_frame_id(record.partition.topic, record.partition.index, record.offset),
        tenant=DEFAULT_TENANT,
        feed=UNKNOWN_FEED,
        kind="still",
        position="",
        ingested=appended(record.timestamp),
        image=ImageRef(format="jpeg", sha256="", size_bytes=0),
        origin=_claimed_origin(record),
    )
    return InFlightFrame(
        record=record,
        frame=frame,
        route=Route((Mode.PASS,), GIVEN, needs_original=False),
        size_bytes=len(record.value or b""),
        ready_at=ready_at,
        fields=GIVEN,
        death=Death(STAGE, error.reason, str(error)),
    )
