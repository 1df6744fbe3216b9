"""Reads the JPEG pictures of a camera's multipart stream, as cameras send them rather than as RFC 2046 says.

Some send no first boundary, another one than they announce, or none of the length; `image/jpg`, bare line feeds.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Protocol

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from processors.headers import Unreadable, read_header
from processors.jpeg import decode_jpeg
from processors.orientation import orient
from streams.sources.source import UnreadableSource

MAX_PICTURE_BYTES = 32 << 20
"""Of one picture; a camera's have at most a few MB."""
MAX_PADDING_BYTES = 32
"""Before a marker. After damage libjpeg finds more: what is left of the picture."""
_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]{2})")
_RESTART_MARKERS = frozenset(f"d{number}" for number in range(8))
_READ_BYTES, _LINE_BYTES = 64 << 10, 128
_JPEG = b"\xff\xd8\xff"
_HEADER = re.compile(rb"[A-Za-z][A-Za-z0-9-]{0,63}[ \t]*:")
_LENGTH = re.compile(rb"content-length[ \t]*:[ \t]*(\d{1,9})[ \t]*$", re.IGNORECASE)
_BOUNDARY = rb"--[!-~ ]{1,72}"
_END = re.compile(rb"\r?\n" + _BOUNDARY + rb"\r?\n")
"""The line between two pictures, whatever its name. By chance it stands in a picture of 1 MB once in millions."""


class Reader(Protocol):
    def read(self, size: int) -> bytes:
        """At most `size` bytes, as soon as any are there; empty at the end."""
        ...


def looks_like_multipart(head: bytes) -> bool:
    """Whether a body begins as a multipart stream does: with a boundary or with a part's header."""
    line = head.lstrip(b"\r\n")
    return re.match(_BOUNDARY + rb"\r?\n", line) is not None or _HEADER.match(line) is not None


def whole_jpeg(content: bytes) -> NDArray[np.uint8] | None:
    """uint8 BGR [height, width, 3], upright; None for a damaged JPEG.

    One that lacks only its end marker is whole, and so is one with a few bytes too many, as many webcams send them.
    """
    try:
        orientation = read_header(content).orientation
    except Unreadable:
        return None
    rgb = decode_jpeg(content)
    bgr = np.ascontiguousarray(rgb[..., ::-1]) if rgb is not None else _padded(content)
    return None if bgr is None else orient(bgr, orientation)


def _padded(content: bytes) -> NDArray[np.uint8] | None:
    """The BGR pixels of a JPEG in which libjpeg finds nothing wrong but padding."""
    try:
        simplejpeg.decode_jpeg(content, "RGB")
    except ValueError as error:
        found = _EXTRANEOUS.search(str(error))
        if found is None or int(found[1]) > MAX_PADDING_BYTES or found[2] in _RESTART_MARKERS:
            return None
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return None if decoded is None else decoded.astype(np.uint8, copy=False)


class JpegStream:
    """The pictures of a multipart stream. `boundary` is the announced one; empty if none is."""

    def __init__(self, reader: Reader, head: bytes = b"", boundary: str = "") -> None:
        """`head` was read from the stream before."""
        self._reader = reader
        self._buffer = bytearray(head)
        self._ended = False
        name = re.escape(boundary.strip("-").encode(errors="replace"))
        self._end = re.compile(rb"\r?\n-{0,4}" + name + rb"-{0,2}\r?\n|" + _END.pattern) if name else _END

    def pictures(self) -> Generator[bytes, None, None]:
        """Each part that is a JPEG, whole or not. Blocking. Raises UnreadableSource when no part ends or begins."""
        while (length := self._header()) is not None:
            content = self._content(length)
            if content.startswith(_JPEG):
                yield content

    def _header(self) -> int | None:
        """Read to the end of a part's header: the length that it states, 0 without one; None at the stream's end."""
        length, begun = 0, False
        while not self._buffer.startswith(_JPEG):
            line = self._line()
            if line is None:
                return None
            if not line and begun:
                break
            if (stated := _LENGTH.match(line)) is not None:
                length = int(stated[1])
            begun = begun or _HEADER.match(line) is not None
        return length

    def _line(self) -> bytes | None:
        """The next line without its end, None at the stream's end; what is left of a picture may be a long one."""
        while (end := self._buffer.find(b"\n")) < 0:
            self._grow()
            if self._ended:
                return None
        line = bytes(self._buffer[:end]).rstrip(b"\r")
        del self._buffer[: end + 1]
        return line

    def _content(self, length: int) -> bytes:
        """A part's content, to its stated length or to the line that ends it, whichever comes first."""
        searched = 0
        while True:
            end = self._end.search(self._buffer, searched)
            if end is not None and not 0 < length <= end.start():
                return self._taken(end.start())
            if self._ended or 0 < length <= len(self._buffer):
                return self._taken(length or len(self._buffer))
            searched = max(0, len(self._buffer) - _LINE_BYTES)
            self._grow()

    def _taken(self, size: int) -> bytes:
        content = bytes(self._buffer[:size])
        del self._buffer[:size]
        return content

    def _grow(self) -> None:
        if len(self._buffer) > MAX_PICTURE_BYTES:
            raise UnreadableSource(f"the stream sends a picture of more than {MAX_PICTURE_BYTES >> 20} MiB")
        chunk = self._reader.read(_READ_BYTES)
        self._ended = not chunk
        self._buffer += chunk
