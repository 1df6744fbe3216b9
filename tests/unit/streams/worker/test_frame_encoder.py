"""What a frame sends out at its segment's end."""

from __future__ import annotations

from processors.frame import thaw
from schemas import topics
from schemas.codec import decode_frame
from schemas.events import ImageRef
from stores.blobs import blob_uri, sha256_hex
from streams.plan import GIVEN
from streams.transport import Partition, Record
from streams.worker.frame_encoder import EncodedFrame, FrameEncoder
from streams.worker.in_flight import InFlightFrame
from streams.worker.route import Mode, Route
from tests.support.events import NOW, raw_event

ORIGINAL = b"an original"
ENCODER = FrameEncoder(
    topic=topics.ENRICHED,
    is_last=True,
    model_set="",
    limits={topics.ENRICHED: 1 << 20, topics.DEAD: 1 << 20},
    inline_limit_bytes=1 << 19,
    publish_embeddings=False,
)


def prepared(thumbnail: bytes | None) -> tuple[EncodedFrame, ImageRef]:
    """What goes out of a frame with this thumbnail, and the image as its event has it."""
    frame = thaw(raw_event())
    frame.original, frame.thumbnail_jpeg = ORIGINAL, thumbnail
    record = Record(Partition(topics.RAW, 0), 0, 1, b"default/lobby", b"", {}, NOW.timestamp())
    route = Route((Mode.RUN,), GIVEN, needs_original=True)
    encoded = ENCODER.encode(InFlightFrame(record, frame, route, len(ORIGINAL), 0.0, GIVEN), NOW)
    event = encoded.outgoing[0]
    return encoded, decode_frame(event.value, event.headers).event.image


def test_a_thumbnail_is_written_beside_the_original() -> None:
    encoded, image = prepared(b"a smaller one")
    assert encoded.thumbnail == (image.thumbnail, b"a smaller one")
    assert image.thumbnail == blob_uri("default", "lobby", NOW.date(), sha256_hex(b"a smaller one"), ".thumb")


def test_a_picture_that_is_its_own_thumbnail_is_not_written_again() -> None:
    encoded, image = prepared(ORIGINAL)
    assert encoded.thumbnail is None
    assert image.thumbnail == image.uri


def test_without_a_thumbnail_none_is_cited() -> None:
    encoded, image = prepared(None)
    assert (encoded.thumbnail, image.thumbnail) == (None, "")
