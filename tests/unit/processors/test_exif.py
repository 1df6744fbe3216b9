"""When a photograph was taken, and how it is to be shown, by EXIF as cameras write it and as they should not."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from processors.exif import orientation, time_taken
from processors.headers import read_header
from tests.support.odd_pictures import exif, heif, quarters, saved

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def tiff(**tags: Any) -> bytes:
    return exif(**tags).removeprefix(b"Exif\0\0")


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"taken": "2019:07:04 18:30:15", "offset": "+09:00"}, datetime(2019, 7, 4, 9, 30, 15, tzinfo=UTC)),
        ({"taken": "2019:07:04 18:30:15", "offset": "Z"}, datetime(2019, 7, 4, 18, 30, 15, tzinfo=UTC)),
        ({"taken": "2019:07:04 18:30:15"}, datetime(2019, 7, 4, 16, 30, 15, tzinfo=UTC)),  # Berlin, in summer
        ({"taken": "2019:12:04 18:30:15"}, datetime(2019, 12, 4, 17, 30, 15, tzinfo=UTC)),
        ({"taken": "2019:07:04 18:30:15", "offset": "nonsense"}, datetime(2019, 7, 4, 16, 30, 15, tzinfo=UTC)),
        ({"taken": "2019:07:04 18:30:15", "offset": "+99:00"}, datetime(2019, 7, 4, 16, 30, 15, tzinfo=UTC)),
        ({"taken": "2019:07:04 18:30:15", "subseconds": "042"}, datetime(2019, 7, 4, 16, 30, 15, 42_000, tzinfo=UTC)),
        ({"taken": "2019-07-04T18:30:15", "subseconds": "x"}, datetime(2019, 7, 4, 16, 30, 15, tzinfo=UTC)),
        ({"taken": "1901:05:06 07:08:09", "offset": "+00:00"}, datetime(1901, 5, 6, 7, 8, 9, tzinfo=UTC)),
    ],
)
def test_the_time_of_a_photograph_in_its_own_zone_or_in_the_configured_one(
    tags: dict[str, str], expected: datetime
) -> None:
    assert time_taken(tiff(**tags), BERLIN, NOW) == expected


@pytest.mark.parametrize(
    "taken",
    [
        "0000:00:00 00:00:00",
        "    :  :     :  :  ",
        "0001:01:01 00:00:00",
        "9999:12:31 23:59:59",
        "2026:11:30 00:00:00",
        "2019:02:30 10:00:00",
        "2019:07:04 25:00:00",
        "2019:07:04",
        "",
        "yesterday",
    ],
)
@pytest.mark.parametrize("zone", [BERLIN, None])
def test_a_date_that_cannot_be_is_not_used(taken: str, zone: ZoneInfo | None) -> None:
    assert time_taken(tiff(taken=taken), zone, NOW) is None


@pytest.fixture
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("in_tokyo")
def test_without_a_zone_anywhere_it_is_the_machines() -> None:
    assert time_taken(tiff(taken="2019:07:04 18:30:15"), None, NOW) == datetime(2019, 7, 4, 9, 30, 15, tzinfo=UTC)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "HEIC", "AVIF"])
def test_every_format_has_its_exif_found(kind: str) -> None:
    written = exif(taken="2019:07:04 18:30:15")
    picture = heif(quarters(), exif=written) if kind == "HEIC" else saved(quarters(), kind, exif=written)
    assert time_taken(read_header(picture).exif, UTC, NOW) == datetime(2019, 7, 4, 18, 30, 15, tzinfo=UTC)


@pytest.mark.parametrize(("order", "kind"), [("<", 3), (">", 3), ("<", 4), (">", 4), (">", 1)])
def test_an_orientation_in_any_byte_order_and_number_type(order: str, kind: int) -> None:
    value = struct.pack(f"{order}{ {1: 'B', 3: 'H', 4: 'I'}[kind] }", 6).ljust(4, b"\0")
    mark = b"II*\0" if order == "<" else b"MM\0*"
    directory = struct.pack(f"{order}IHHHI", 8, 1, 0x112, kind, 1) + value + bytes(4)
    assert orientation(mark + directory) == 6


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"II",
        b"II*\0" + struct.pack("<I", 0x7FFFFFFF) + bytes(50),
        b"II*\0" + struct.pack("<IH", 8, 65_535) + bytes(5),
        b"MM\0*" + struct.pack(">IHHHII", 8, 1, 0x8769, 4, 1, 8),
        b"MM\0*" + struct.pack(">IHHHII", 8, 1, 0x112, 4, 1, 77),
    ],
)
def test_broken_exif_says_nothing(broken: bytes) -> None:
    assert (orientation(broken), time_taken(broken, UTC, NOW)) == (1, None)
