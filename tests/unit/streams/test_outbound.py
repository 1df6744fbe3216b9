"""What a frame sends out at its segment's end."""

from __future__ import annotations

from datetime import UTC, datetime

from processors.frame import Frame
from schemas import topics
from schemas.codec import decode_frame
from schemas.events import ImageRef
from schemas.identity import frame_id, live_position
from stores.blobs import blob_uri, sha256_hex
from streams.flight import Flight
from streams.outbound import Outbound, Outlet
from streams.plan import GIVEN
from streams.route import Mode, Route
from streams.transport import Partition, Record

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
ORIGINAL = b"an original"
OUTLET = Outlet(
    topic=topics.ENRICHED,
    is_last=True,
    model_set="",
    limits={topics.ENRICHED: 1 << 20, topics.DEAD: 1 << 20},
    inline_limit_bytes=1 << 19,
    publish_embeddings=False,
)


def prepared(thumbnail: bytes | None) -> tuple[Outbound, ImageRef]:
    """What goes out of a frame with this thumbnail, and the image as its event has it."""
    position = live_position("01932d5c-7d00-7000-8000-000000000000", 1)
    frame = Frame(
        id=frame_id("default", "gate", position),
        tenant="default",
        feed="gate",
        kind="frame",
        position=position,
        ingested=NOW,
        image=ImageRef(
            format="jpeg",
            sha256=sha256_hex(ORIGINAL),
            size_bytes=len(ORIGINAL),
            width=4,
            height=3,
            uri=blob_uri("default", "gate", NOW.date(), sha256_hex(ORIGINAL)),
        ),
    )
    frame.bytes, frame.thumbnail_jpeg = ORIGINAL, thumbnail
    record = Record(Partition(topics.RAW, 0), 0, 1, b"default/gate", b"", {}, NOW.timestamp())
    route = Route((Mode.RUN,), GIVEN, needs_bytes=True)
    outbound = OUTLET.prepare(Flight(record, frame, route, len(ORIGINAL), 0.0, GIVEN), NOW)
    event = outbound.outgoing[0]
    return outbound, decode_frame(event.value, event.headers).event.image


def test_a_thumbnail_is_written_beside_the_original() -> None:
    outbound, image = prepared(b"a smaller one")
    assert outbound.thumbnail == (image.thumbnail, b"a smaller one")
    assert image.thumbnail == blob_uri("default", "gate", NOW.date(), sha256_hex(b"a smaller one"), ".thumb")


def test_a_picture_that_is_its_own_thumbnail_is_not_written_again() -> None:
    outbound, image = prepared(ORIGINAL)
    assert outbound.thumbnail is None
    assert image.thumbnail == image.uri


def test_without_a_thumbnail_none_is_cited() -> None:
    outbound, image = prepared(None)
    assert (outbound.thumbnail, image.thumbnail) == (None, "")
