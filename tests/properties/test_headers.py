"""For any bytes, a header is read or refused with a reason."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from processors.headers import Unreadable, read_header

SIGNATURES = (
    b"",
    b"\xff\xd8\xff",
    b"\xff\xd8\xff\xc0",
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    b"RIFF\0\0\0\0WEBPVP8X",
    b"RIFF\0\0\0\0WEBPVP8L",
    b"RIFF\0\0\0\0WEBPVP8 ",
)


@given(st.sampled_from(SIGNATURES), st.binary(max_size=64))
@example(b"\xff\xd8\xff", b"\xff" * 40)
@example(b"\xff\xd8\xff", b"\xe0\0\0" * 20)
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
