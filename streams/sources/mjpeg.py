"""Reads the JPEG pictures of a camera's multipart stream, as cameras send them rather than as RFC 2046 says.

Some send no first boundary, another one than they announce, or none of the length; `image/jpg`, bare line feeds.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Protocol

from streams.sources.source import UnreadableSource

MAX_PICTURE_BYTES = 32 << 20
"""Of one picture; a camera's have at most a few MB."""
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
