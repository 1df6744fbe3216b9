"""The pictures of cameras' multipart streams, in whatever form and pieces they come."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.sources.jpeg_damage import is_damaged, whole_jpeg
from streams.sources.mjpeg import JpegStream, looks_like_multipart
from tests.support.pictures import encoded, scene

PICTURES = [encoded(scene(number)) for number in range(3)]


class Pieces:
    """A connection that gives its bytes in pieces of these sizes, over and over."""

    def __init__(self, content: bytes, sizes: Sequence[int] = (1 << 20,)) -> None:
        self._content, self._sizes, self._reads = content, sizes, 0

    def read(self, size: int) -> bytes:
        piece = self._content[: self._sizes[self._reads % len(self._sizes)]]
        self._reads += 1
        self._content = self._content[len(piece) :]
        return piece


def body(
    *, first: bool = True, wire: bytes = b"--B", end: bytes = b"\r\n", length: bool = True, kind: bytes = b"image/jpeg"
) -> bytes:
    parts = [wire + end] if first else []
    for picture in PICTURES:
        stated = b"Content-Length: %d" % len(picture) + end if length else b""
        parts.append(b"Content-Type: " + kind + end + stated + end + picture + end + wire + end)
    return b"".join(parts)


FORMS = {
    "as RFC 2046 has it": body(),
    "no first boundary": body(first=False),
    "image/jpg": body(kind=b"image/jpg"),
    "line feeds alone": body(end=b"\n"),
    "no length": body(length=False),
    "no length, no first boundary, another boundary than announced": body(first=False, length=False, wire=b"--OTHER"),
    "a boundary without dashes": body(wire=b"B", length=False),
    "more dashes": body(wire=b"----B"),
    "texts between": body().replace(b"--B\r\n", b"--B\r\nContent-Type: text/plain\r\n\r\nmotion\r\n--B\r\n"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_pictures_unchanged(form: str) -> None:
    assert list(JpegStream(Pieces(FORMS[form]), boundary="B").pictures()) == PICTURES
    assert looks_like_multipart(FORMS[form]) or form == "a boundary without dashes"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 5000), min_size=1, max_size=5), st.sampled_from(sorted(FORMS)))
def test_it_does_not_matter_where_the_network_cuts(sizes: list[int], form: str) -> None:
    assert list(JpegStream(Pieces(FORMS[form], sizes), boundary="B").pictures()) == PICTURES


def test_a_wrong_length_costs_no_other_picture() -> None:
    right = b"Content-Length: %d" % len(PICTURES[1])
    for wrong in (b"Content-Length: %d" % (len(PICTURES[1]) + 5000), b"Content-Length: %d" % (len(PICTURES[1]) // 2)):
        shown = list(JpegStream(Pieces(body().replace(right, wrong))).pictures())
        assert len(shown) == 3
        assert (shown[0], shown[2]) == (PICTURES[0], PICTURES[2])


def test_a_picture_is_there_as_soon_as_its_last_byte() -> None:
    class Live(Pieces):
        def read(self, size: int) -> bytes:
            return super().read(size) or pytest.fail("waits for the next picture")

    content = body()[: body().index(PICTURES[0]) + len(PICTURES[0])]
    assert next(JpegStream(Live(content)).pictures()) == PICTURES[0]


def test_only_whole_jpegs_are_shown() -> None:
    jpeg = PICTURES[0]
    padded = jpeg[:-2] + b"\x12\x34" * 4 + jpeg[-2:]
    for whole in (jpeg, jpeg[:-2], jpeg + b"\r\n", padded):
        shown = whole_jpeg(whole)
        assert shown is not None
        assert shown.shape == (120, 160, 3)
        assert not is_damaged(whole)
    for damaged in (
        jpeg[: len(jpeg) // 2],
        jpeg[: len(jpeg) // 2] + bytes(400) + jpeg[len(jpeg) // 2 + 400 :],
        jpeg[:200],
        b"\xff\xd8\xff",
        b"",
    ):
        assert whole_jpeg(damaged) is None
        assert is_damaged(damaged) or len(damaged) <= 200, "of less than a header FFmpeg itself says so"


@pytest.mark.parametrize("head", [b"\xff\xd8\xff\xe0", b"<html>", b"\0\0\0\x18ftypmp42", b"#EXTM3U\n", b""])
def test_what_is_no_stream_of_pictures_does_not_look_like_one(head: bytes) -> None:
    assert not looks_like_multipart(head)
