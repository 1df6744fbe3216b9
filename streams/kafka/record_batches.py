"""Batches of a fetch that stay as they came until their records are handed out, and are read whatever they hold.

aiokafka unpacks a compressed batch as it arrives, however large it becomes, and raises for a header name that is not
UTF-8; the partition's reading then never goes on. Here a batch is unpacked when its first record is taken, up to a
limit, and such a name gets replacement characters, as in Java's client. Where a batch cannot be read, each of its
records is given without content, with the fault. Source: Kafka's protocol guide, "Record Batch" and "Record".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c, decode_varint

from streams.kafka.compiled.wire import wire
from streams.kafka.fair_buffer import Run
from streams.kafka.unpacking import Unpackable, unpack
from streams.transport import Partition, Record

_HEADER = struct.Struct(">qiibIhiqqqhii")
"""Base offset, length, leader epoch, magic, checksum, attributes, last offset delta, first and last timestamp, producer
id, its epoch, base sequence, records."""
_LENGTH_END, _MAGIC_OFFSET, _ATTRIBUTES_OFFSET = 12, 16, 21
_COMPRESSION, _APPEND_TIME, _TRANSACTIONAL, _CONTROL = 7, 8, 16, 32
MANY_RECORDS = 10_000
"""Objects of more records are not held at once: a compressed batch may have millions of empty ones."""
UNREADABLE = (Unpackable, CorruptRecordException, ValueError, IndexError)
"""What reading a batch raises for bytes that are no records."""


class PlainRecord(NamedTuple):
    """A record with the attributes that aiokafka's have."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    checksum: None = None


class Batches:
    """The batches of one partition in a fetch, the last of which may be incomplete. As aiokafka's MemoryRecords."""

    def __init__(self, data: bytes, *, compiled: bool) -> None:
        self._data, self._position, self._compiled = data, 0, compiled and wire is not None

    def size_in_bytes(self) -> int:
        return len(self._data)

    def has_next(self) -> bool:
        return self._next_stop() > 0

    def next_batch(self) -> Any:
        """A control batch, and one of an older format, is aiokafka's own object. Raises CorruptRecordException."""
        start, stop = self._position, self._next_stop()
        if not stop:
            raise CorruptRecordException("no complete batch is left")
        self._position = stop
        attributes = self._data[start + _ATTRIBUTES_OFFSET + 1] if stop - start >= _HEADER.size else _CONTROL
        if self._data[start + _MAGIC_OFFSET : start + _MAGIC_OFFSET + 1] != b"\2" or attributes & _CONTROL:
            return MemoryRecords(self._data[start:stop]).next_batch()
        if self._compiled and not attributes & _COMPRESSION:
            return wire.Batch(self._data, start, stop)
        return PackedBatch(self._data[start:stop], compiled=self._compiled)

    def _next_stop(self) -> int:
        """Where the next batch ends, 0 if it is incomplete."""
        data, position = self._data, self._position
        if len(data) - position < _LENGTH_END:
            return 0
        stop = position + _LENGTH_END + max(int(struct.unpack_from(">i", data, position + 8)[0]), 0)
        return stop if stop <= len(data) else 0


class PackedBatch:
    """One batch; `take` gives its records, each once. aiokafka's code uses it in place of its own batch."""

    is_control_batch = False

    def __init__(self, data: bytes, *, compiled: bool) -> None:
        header = _HEADER.unpack_from(data)
        self.base_offset, self.producer_id = int(header[0]), int(header[9])
        self.is_transactional = bool(header[5] & _TRANSACTIONAL)
        self.next_offset = self.base_offset + int(header[6]) + 1
        self._crc, self._left = int(header[4]), int(header[12])
        self._data, self._compiled = data, compiled
        self._min_offset = 0
        self._run: Run[Record] | None = None

    def validate_crc(self) -> bool:
        return bool(self._crc == calc_crc32c(self._data[_ATTRIBUTES_OFFSET:]))

    @property
    def offset(self) -> int:
        """Of the last record: to aiokafka this batch is the only record in it."""
        return self.next_offset - 1

    def __iter__(self) -> Iterator[PackedBatch]:
        return iter((self,))

    def __len__(self) -> int:
        """Records left, at most: those that lie before the first wanted offset are known once it is unpacked."""
        return max(self._left, 0)

    def begin(self, offset: int) -> PackedBatch:
        """Leave out what lies before `offset`."""
        self._min_offset = offset
        return self

    def bind(self, partition: Partition, epoch: int) -> PackedBatch:
        """Set the partition and epoch of the records."""
        self._partition, self._epoch = partition, epoch
        return self

    def take(self, count: int) -> list[Record]:
        """The next `count` records, or as many as are left."""
        if self._run is None:
            self._run = self._unpacked()
        records = self._run.take(count)
        self._left = len(self._run)
        return records

    def plain_records(self) -> Iterator[PlainRecord]:
        """The records, with names that are not UTF-8 repaired; where the batch cannot be read, without content."""
        try:
            yield from _checked(_uncompressed(self._data))
        except UNREADABLE:
            yield from (PlainRecord(offset, -1, 0, None, None, []) for offset in self._offsets())

    def _unpacked(self) -> Run[Record]:
        try:
            content = _uncompressed(self._data)
            if self._compiled:
                return wire.Batch(content, 0, len(content)).begin(self._min_offset).bind(self._partition, self._epoch)  # type: ignore[no-any-return]
            records = _checked(content)
        except UNREADABLE as error:
            fault = f"the batch at offset {self.base_offset} cannot be read: {error}"
            lost = (self._without_content(offset, fault) for offset in self._offsets() if offset >= self._min_offset)
            return RecordRun(lost, self._left)
        wanted = _ascending(records, self._min_offset)
        return RecordRun((as_record(self._partition, self._epoch, record) for record in wanted), self._left)

    def _offsets(self) -> range:
        """Of its records, where they cannot be read: compaction may have left out some of them."""
        return range(max(self.base_offset, self.next_offset - max(self._left, 1)), self.next_offset)

    def _without_content(self, offset: int, fault: str) -> Record:
        return Record(self._partition, offset, self._epoch, b"", None, {}, 0.0, fault)


class ReadBatches(Batches):
    """The same for a consumer whose records are aiokafka's own: a batch of it is iterated."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data, compiled=False)

    def next_batch(self) -> Any:
        batch = super().next_batch()
        return _ReadBatch(batch) if type(batch) is PackedBatch else batch


class _ReadBatch:
    """Gives a batch's attributes, and its records instead of itself."""

    def __init__(self, batch: PackedBatch) -> None:
        self._batch = batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[PlainRecord]:
        return self._batch.plain_records()


WHOLE_BATCHES = (PackedBatch,) if wire is None else (PackedBatch, wire.Batch)
"""Types that stand for all the records of a batch."""


class RecordRun:
    """Records that are made when they are taken; `count` is their number, at most. See `fair_buffer.Run`."""

    def __init__(self, records: Iterator[Record], count: int) -> None:
        self._records, self._left = records, count

    def __len__(self) -> int:
        return self._left

    def take(self, count: int) -> list[Record]:
        records = list(islice(self._records, count))
        self._left = self._left - len(records) if len(records) == count else 0
        return records


def as_record(partition: Partition, epoch: int, record: Any) -> Record:
    """From aiokafka's record. Other producers may send no key, null headers and, in an old format, no timestamp."""
    headers = {name: value or b"" for name, value in record.headers}
    seconds = (record.timestamp or 0) / 1000
    return Record(partition, record.offset, epoch, record.key or b"", record.value, headers, seconds)


def _uncompressed(data: bytes) -> bytes:
    """The batch as if it had never been compressed, but for its length and checksum. Raises Unpackable."""
    compression = data[_ATTRIBUTES_OFFSET + 1] & _COMPRESSION
    if not compression:
        return data
    header = bytearray(data[: _HEADER.size])
    header[_ATTRIBUTES_OFFSET + 1] &= ~_COMPRESSION
    return bytes(header) + unpack(compression, data[_HEADER.size :])


def _checked(content: bytes) -> Iterator[Any]:
    """All records of an uncompressed batch are read once, so that no error is found after one was handed out.

    By aiokafka's C code, unless it raises: for a name that is not UTF-8, among others.
    """
    if _HEADER.unpack_from(content)[12] <= MANY_RECORDS:
        try:
            return iter(list(DefaultRecordBatch(content)))
        except UNREADABLE:
            pass
    for _ in _read(content):
        pass
    return _read(content)


def _ascending(records: Iterator[Any], offset: int) -> Iterator[Any]:
    """Those from `offset` on, without one whose offset is not above the last one's."""
    for record in records:
        if record.offset >= offset:
            offset = record.offset + 1
            yield record


def _read(content: bytes) -> Iterator[PlainRecord]:
    """The records of an uncompressed batch. Raises CorruptRecordException, IndexError."""
    header = _HEADER.unpack_from(content)
    base_offset, attributes, first, latest, count = header[0], header[5], header[7], header[8], header[12]
    append_time = bool(attributes & _APPEND_TIME)
    position = _HEADER.size
    for _ in range(count):
        size, position = decode_varint(content, position)
        end = position + size
        if size < 0 or end > len(content):
            raise CorruptRecordException(f"a record has {size} bytes, but {len(content) - position} are left")
        _, position = decode_varint(content, position)
        delta, position = decode_varint(content, position)
        offset, position = decode_varint(content, position)
        key, position = _nullable(content, position)
        value, position = _nullable(content, position)
        headers, position = _headers(content, position)
        if position != end:
            raise CorruptRecordException(f"{end - position} bytes follow a record's headers")
        timestamp = latest if append_time else first + delta
        yield PlainRecord(base_offset + offset, timestamp, int(append_time), key, value, headers)
    if position != len(content):
        raise CorruptRecordException(f"{len(content) - position} bytes follow a batch's records")


def _headers(content: bytes, position: int) -> tuple[list[tuple[str, bytes]], int]:
    count, position = decode_varint(content, position)
    if count < 0:
        raise CorruptRecordException(f"a record has {count} headers")
    headers = []
    for _ in range(count):
        name, position = _nullable(content, position)
        if name is None:
            raise CorruptRecordException("a header has no name")
        value, position = _nullable(content, position)
        headers.append((name.decode(errors="replace"), value or b""))
    return headers, position


def _nullable(content: bytes, position: int) -> tuple[bytes | None, int]:
    size, position = decode_varint(content, position)
    if size > len(content) - position:
        raise CorruptRecordException(f"a length is {size}, but {len(content) - position} bytes are left")
    return (None, position) if size < 0 else (content[position : position + size], position + size)
