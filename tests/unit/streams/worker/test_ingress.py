"""What a worker knows of another producer's picture before the first stage."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from schemas.cloudevents import RAW_TYPE, frame_headers
from schemas.codec import encode_frame
from schemas.events import FrameEvent
from streams.transport import Partition, Record
from streams.worker.in_flight import PIXELS_PER_BYTE, InFlightFrame
from streams.worker.ingress import decode_record
from streams.worker.route import Router
from tests.support.events import frame_event
from tests.support.odd_pictures import exif, heif, quarters, saved
from tests.support.picture_headers import picture_headers

APPENDED = datetime(2026, 11, 29, 12, tzinfo=UTC)
SENT = datetime(2026, 11, 29, 11, 59, 30, tzinfo=UTC)
TAKEN = datetime(2019, 7, 4, 9, 30, 15, tzinfo=UTC)
TOKYO = ZoneInfo("Asia/Tokyo")


def decoded(value: bytes, headers: dict[str, bytes]) -> InFlightFrame:
    record = Record(Partition("frames.raw", 0), 0, 1, b"", value, headers, APPENDED.timestamp())
    return decode_record(record, Router([], {}), ready_at=0.0, repeated=False, zone=TOKYO)


def produced(content: bytes, captured: datetime | None = None, kind: str = "still") -> InFlightFrame:
    return decoded(content, picture_headers("/cam/yard", "1", content_type="image/heic", captured=captured, kind=kind))


@pytest.mark.parametrize("as_heic", [False, True])
@pytest.mark.parametrize(
    ("producers", "kind", "expected"),
    [(None, "still", TAKEN), (SENT, "still", SENT), (None, "frame", None)],
)
def test_the_producers_time_counts_before_exif(
    as_heic: bool,  # noqa: FBT001 - a parameter of the test
    producers: datetime | None,
    kind: str,
    expected: datetime | None,
) -> None:
    written = exif(taken="2019:07:04 18:30:15")
    content = heif(quarters(), exif=written) if as_heic else saved(quarters(), "JPEG", exif=written)
    frame = produced(content, producers, kind).frame
    assert (frame.captured, frame.ingested) == (expected, APPENDED)


@pytest.mark.parametrize("taken", ["0000:00:00 00:00:00", "0001:01:01 00:00:00", "2031:01:01 00:00:00"])
def test_a_nonsense_date_is_no_time_of_capture(taken: str) -> None:
    assert produced(saved(quarters(), "JPEG", exif=exif(taken=taken))).frame.captured is None


def test_the_size_is_known_before_decoding_and_counts_for_memory() -> None:
    picture = saved(quarters(64, 96), "JPEG", exif=exif(orientation=6))
    plain = produced(picture)
    assert (plain.frame.image.width, plain.frame.image.height, plain.pixels) == (96, 64, 96 * 64)
    assert produced(b"\xff\xd8\xff" + bytes(97)).pixels == 100 * PIXELS_PER_BYTE


@pytest.mark.parametrize(("width", "expected"), [(0, 96 * 64), (1000, 1000 * 500)])
def test_an_event_with_its_bytes_inside_is_measured_unless_it_says_its_size(width: int, expected: int) -> None:
    image = {"width": width, "height": width // 2}
    event: FrameEvent = frame_event("test:1", saved(quarters(), "JPEG"), inline=True, image=image)
    assert decoded(encode_frame(event), frame_headers(event, RAW_TYPE)).pixels == expected


def test_a_record_that_cannot_be_read_is_found_by_what_it_says_of_its_producer() -> None:
    headers = picture_headers("/cam/yard", "frame 7", content_type="image/jpeg") | {"ce_time": b"never"}
    assert decoded(b"no picture", headers).frame.origin == "/cam/yard frame 7"
    assert decoded(b"no picture", {"ce_id": b"\xff\x00" + bytes(9_000)}).frame.origin.startswith("\ufffd\x00")
    assert decoded(b"no picture", {}).frame.origin == ""
