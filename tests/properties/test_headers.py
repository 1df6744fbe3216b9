"""For any bytes, a header is read or refused with a reason."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from processors.headers import Unreadable, read_header
from tests.support.odd_pictures import exif, quarters, saved

HEIF = saved(quarters(), "AVIF", exif=exif(orientation=6, taken="2019:07:04 18:30:15"))
SIGNATURES = (
    b"",
    b"\xff\xd8\xff",
    b"\xff\xd8\xff\xc0",
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    b"RIFF\0\0\0\0WEBPVP8X",
    b"RIFF\0\0\0\0WEBPVP8L",
    b"RIFF\0\0\0\0WEBPVP8 ",
    b"GIF89a",
    b"\0\0\0\x10ftypheic\0\0\0\0",
    b"\0\0\0\x10ftypavif\0\0\0\0\0\0\0\x40meta\0\0\0\0",
)


@given(st.sampled_from(SIGNATURES), st.binary(max_size=64))
@example(b"\xff\xd8\xff", b"\xff" * 40)
@example(b"\xff\xd8\xff", b"\xe0\0\0" * 20)
@example(SIGNATURES[-1], b"\0\0\0\x0epitm\0\0\0\0\0\1\0\0\0\x14iprp\0\0\0\x0cipco\0\0\0\4ispe")
def test_any_bytes_are_read_or_refused(signature: bytes, rest: bytes) -> None:
    outcome = reason_or_size(signature + rest)
    if isinstance(outcome, str):
        assert outcome in ("unreadable_image", "unsupported_format")
    else:
        assert min(outcome) > 0


def reason_or_size(picture: bytes) -> str | tuple[int, int]:
    try:
        header = read_header(picture)
    except Unreadable as refused:
        return refused.reason
    return header.width, header.height


@given(st.data())
def test_a_real_heif_with_any_bytes_changed_is_read_or_refused(data: st.DataObject) -> None:
    picture = bytearray(HEIF)
    for position in data.draw(st.lists(st.integers(0, min(len(HEIF), 600) - 1), max_size=4)):
        picture[position] = data.draw(st.integers(0, 255))
    reason_or_size(bytes(picture[: data.draw(st.integers(0, len(HEIF)))]))


def overwritten(box: bytes, content: bytes) -> bytes:
    start = HEIF.index(box) + 4
    return HEIF[:start] + content + HEIF[start + len(content) :]


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\2\0\0\0" + bytes(8 << 20), id="PNG"),
        pytest.param(b"\xff\xd8" + b"\xff\xe2\0\2" * (2 << 20), id="JPEG"),
        pytest.param(b"\xff\xd8" + b"\xff" * (8 << 20), id="JPEG of fill bytes"),
        pytest.param(HEIF.replace(b"meta", b"free", 1) + b"\0\0\0\x08skip" * (1 << 20), id="boxes"),
        pytest.param(overwritten(b"iloc", bytes(6) + b"\xff\xff"), id="items"),
        pytest.param(overwritten(b"iloc", bytes(6) + b"\x0f\xff" + b"\0\1\0\0\xff\xff"), id="pieces"),
        pytest.param(overwritten(b"ipma", bytes(4) + b"\xff\xff\xff\xff"), id="associations"),
    ],
)
def test_no_header_takes_long(hostile: bytes) -> None:
    assert reason_or_size(hostile) in ("unreadable_image", (1, 1))
