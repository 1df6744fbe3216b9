"""Unpacks compressed batches up to a limit: a few kilobytes of another producer may unpack to gigabytes."""

from __future__ import annotations

import gzip
import io
import struct
from collections.abc import Callable, Iterator
from types import MappingProxyType

import cramjam

MAX_UNPACKED_BYTES = 64 << 20
"""A producer's batch has at most a few megabytes before it is compressed."""
_FIRST_ATTEMPT_BYTES = 1 << 20
"""Memory for most batches; one that needs more is unpacked again."""
_XERIAL_PREFIX, _XERIAL_HEADER_BYTES = b"\x82SNAPPY\0", 16
"""How the Java client writes Snappy: blocks after a header, each after its length."""


class Unpackable(ValueError):  # noqa: N818 - named for the state
    """The bytes are damaged, of an unknown compression, or unpack to more than is read."""


def unpack(compression: int, content: bytes, max_bytes: int = MAX_UNPACKED_BYTES) -> bytes:
    """`content` unpacked; `compression` is its number in a batch's attributes. Raises Unpackable."""
    unpacker = _UNPACKERS.get(compression)
    if unpacker is None:
        raise Unpackable(f"its compression {compression} is unknown")
    try:
        return unpacker(content, max_bytes)
    except (OSError, EOFError, ValueError, struct.error, cramjam.DecompressionError) as error:
        raise Unpackable(f"it does not unpack to at most {max_bytes} bytes: {error}") from error


def _gzip(content: bytes, max_bytes: int) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as unpacked:
        result = unpacked.read(max_bytes + 1)
    if len(result) > max_bytes:
        raise ValueError("there is more")
    return result


def _snappy(content: bytes, max_bytes: int) -> bytes:
    blocks = list(_xerial_blocks(content)) if content.startswith(_XERIAL_PREFIX) else [content]
    if sum(map(cramjam.snappy.decompress_raw_len, blocks)) > max_bytes:
        raise ValueError("there is more")
    return b"".join(bytes(cramjam.snappy.decompress_raw(block)) for block in blocks)


def _xerial_blocks(content: bytes) -> Iterator[bytes]:
    position = _XERIAL_HEADER_BYTES
    while position < len(content):
        size = struct.unpack_from(">I", content, position)[0]
        yield content[position + 4 : position + 4 + size]
        position += 4 + size


def _lz4(content: bytes, max_bytes: int) -> bytes:
    return _unpacked_into(cramjam.lz4.decompress_into, content, max_bytes)


def _zstd(content: bytes, max_bytes: int) -> bytes:
    return _unpacked_into(cramjam.zstd.decompress_into, content, max_bytes)


def _unpacked_into(unpack_into: Callable[[bytes, bytearray], int], content: bytes, max_bytes: int) -> bytes:
    """What a buffer holds in the end; only the part of it that is written takes memory."""
    for size in sorted({min(max_bytes, _FIRST_ATTEMPT_BYTES), max_bytes}):
        buffer = bytearray(size)
        try:
            return bytes(memoryview(buffer)[: unpack_into(content, buffer)])
        except cramjam.DecompressionError:
            if size == max_bytes:
                raise
    raise AssertionError("the last attempt returns or raises")


_UNPACKERS = MappingProxyType[int, Callable[[bytes, int], bytes]]({1: _gzip, 2: _snappy, 3: _lz4, 4: _zstd})
"""By the number in a batch's attributes."""
