"""Kafka's record batches as other producers write them, byte for byte."""

from __future__ import annotations

import struct

from aiokafka import codec
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

NONE = 0
PACK = {NONE: bytes, 1: codec.gzip_encode, 2: codec.snappy_encode, 3: codec.lz4_encode, 4: codec.zstd_encode}
"""By the number in a batch's attributes."""
CRC, ATTRIBUTES, HEADER_BYTES = 17, 21, 61


def stored(batch: bytearray, offset: int, attributes: int) -> bytes:
    """The batch with what a broker writes into its header, and a valid checksum."""
    struct.pack_into(">q", batch, 0, offset)
    batch[ATTRIBUTES + 1] |= attributes
    return with_checksum(batch)


def with_checksum(batch: bytearray) -> bytes:
    struct.pack_into(">I", batch, CRC, calc_crc32c(bytes(batch[ATTRIBUTES:])))
    return bytes(batch)


def compressed(content: bytes, compression: int) -> bytearray:
    """A batch that was built without compression, compressed."""
    packed = bytearray(content[:HEADER_BYTES] + PACK[compression](content[HEADER_BYTES:]))
    packed[ATTRIBUTES + 1] |= compression
    struct.pack_into(">i", packed, 8, len(packed) - 12)
    return packed


def batch_with_name(name: bytes, compression: int, value: bytes = b"v") -> bytearray:
    """Two records with a header of this name and one of null value.

    aiokafka's builder encodes names itself: a placeholder of the same length is replaced before compression.
    """
    batch = DefaultRecordBatchBuilder(2, NONE, 0, -1, -1, 0, 1 << 20)
    for number in range(2):
        batch.append(number, 1_700_000_000_000, b"k", value, [("x" * len(name), b"1"), ("empty", None)])
    return compressed(bytes(batch.build()).replace(b"x" * len(name), name), compression)


class RawBatch(BatchBuilder):  # type: ignore[misc]
    """A batch of `count` records that a producer sends as it is."""

    def __init__(self, content: bytes, count: int) -> None:
        self._buffer, self._relative_offset, self._closed = content, count, True

    def _set_producer_state(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None: ...

    def _build(self) -> bytes:
        return self._buffer
