"""The compiled code for batches against aiokafka's: the same records and bytes, and both refuse damaged batches."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from contextlib import suppress

import hypothesis.strategies as st
import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from hypothesis import given

from streams.kafka.aiokafka_internals.fetcher import RawPartitionRecords
from streams.kafka.compiled.wire import wire
from streams.kafka.fetched_records import records_from, runs
from streams.transport import NewRecord, Partition, Record

pytestmark = pytest.mark.skipif(wire is None, reason="the compiled code was not built: there was no C compiler")

TOPIC_PARTITION, PARTITION, EPOCH = TopicPartition("frames", 3), Partition("frames", 3), 7
READ_OPTIONS = None, None, True, READ_COMMITTED
"""No deserializers, with checksums."""
NONE, ZSTD = 0, 4
ATTRIBUTES, CRC, COUNT = 21, 17, 57

contents = st.binary(max_size=40) | st.sampled_from([b"", b"image/jpeg", b"x" * 300])
names = st.sampled_from(["ce_id", "ce_type", "content-type", "größe", ""]) | st.text("abü", max_size=3)
header_lists = st.lists(st.tuples(names, st.none() | contents), max_size=6)
messages = st.tuples(st.none() | contents, st.none() | contents, header_lists, st.integers(0, 1 << 40))


@st.composite
def batches(draw: st.DrawFn, compressions: Sequence[int] = (NONE, NONE, NONE, ZSTD)) -> bytes:
    """One to four batches of one partition, with gaps between offsets, as a broker stores them."""
    data, offset = b"", draw(st.integers(0, 1 << 33))
    for _ in range(draw(st.integers(1, 4))):
        batch = DefaultRecordBatchBuilder(2, draw(st.sampled_from(compressions)), 0, -1, -1, 0, 1 << 20)
        contents_ = draw(st.lists(messages, min_size=1, max_size=12))
        for number, (key, value, headers, milliseconds) in enumerate(contents_):
            batch.append(2 * number, milliseconds, key, value, headers)
        data += _stored(batch.build(), offset, draw(st.sampled_from([0, 8])))
        offset += 2 * len(contents_) + draw(st.integers(0, 3))
    return data


def _stored(batch: bytearray, offset: int, attributes: int) -> bytes:
    """The batch with what a broker writes into its header, and a valid checksum."""
    struct.pack_into(">q", batch, 0, offset)
    batch[ATTRIBUTES + 1] |= attributes
    return _with_checksum(batch)


def _with_checksum(batch: bytearray) -> bytes:
    struct.pack_into(">I", batch, CRC, calc_crc32c(bytes(batch[ATTRIBUTES:])))
    return bytes(batch)


def plain(data: bytes, offset: int) -> list[Record]:
    """The records as aiokafka reads them."""
    return records_from(
        PARTITION, EPOCH, PartitionRecords(TOPIC_PARTITION, MemoryRecords(data), [], offset, *READ_OPTIONS)
    )


def compiled(data: bytes, offset: int, count: int = 1 << 30) -> list[Record]:
    taken: list[Record] = []
    for run in runs(
        PARTITION, EPOCH, list(RawPartitionRecords(TOPIC_PARTITION, wire.Batches(data), [], offset, *READ_OPTIONS))
    ):
        while len(run):
            records = run.take(count)
            assert len(records) <= count
            taken += records
    return taken


@given(batches(), st.integers(-5, 60), st.integers(1, 5), st.integers(0, 60))
def test_records_are_those_that_aiokafka_reads(data: bytes, skipped: int, count: int, cut: int) -> None:
    """From any offset, in portions of any size, also if the last batch is cut off."""
    begin = struct.unpack_from(">q", data)[0] + skipped
    data = data[: len(data) - cut]
    assert compiled(data, begin, count) == plain(data, begin)


@given(batches(compressions=[NONE]), st.data())
def test_damaged_batches_are_refused_as_by_aiokafka(data: bytes, choose: st.DataObject) -> None:
    """A byte after the checksum is changed, and the checksum fits: as a faulty producer would write it."""
    stop = 12 + struct.unpack_from(">i", data, 8)[0]
    batch = bytearray(data[:stop])
    batch[choose.draw(st.integers(COUNT, stop - 1))] = choose.draw(st.integers(0, 255))
    damaged = _with_checksum(batch)
    try:
        expected = plain(damaged, 0)
    except UnicodeDecodeError:
        with suppress(CorruptRecordException):  # another field may be damaged
            compiled(damaged, 0)  # a name that is no UTF-8 gets replacement characters
    except CorruptRecordException:
        with pytest.raises(CorruptRecordException):
            compiled(damaged, 0)
    else:
        assert compiled(damaged, 0) == expected


@given(batches(), st.data())
def test_a_wrong_checksum_is_found(data: bytes, choose: st.DataObject) -> None:
    batch, last = bytearray(data), 11 + struct.unpack_from(">i", data, 8)[0]
    batch[choose.draw(st.integers(ATTRIBUTES, last))] ^= 1 << choose.draw(st.integers(0, 7))
    with pytest.raises(CorruptRecordException, match="CRC"):
        compiled(bytes(batch), 0)


@given(st.binary(max_size=200))
def test_no_bytes_crash_it(data: bytes) -> None:
    """Reading ends, and an error is raised where a batch is read, as aiokafka's fetcher expects."""
    batches = wire.Batches(data)
    while batches.has_next():
        with suppress(CorruptRecordException):
            batch = batches.next_batch()
            if isinstance(batch, wire.Batch):
                batch.begin(0).bind(PARTITION, EPOCH).take(100)


outgoing = st.builds(
    NewRecord,
    st.just("frames"),
    contents,
    st.none() | contents | st.just(b"v" * 70_000),
    st.dictionaries(names, contents, max_size=6),
)


@given(st.lists(outgoing, min_size=1, max_size=12), st.integers(100, 2000), st.booleans())
def test_batches_are_those_that_aiokafka_builds(records: list[NewRecord], max_bytes: int, transactional: bool) -> None:  # noqa: FBT001
    first, now = 0, 1_700_000_000_000
    while first < len(records):
        batch, count, largest = wire.pack(records, first, max_bytes)
        expected = DefaultRecordBatchBuilder(2, NONE, int(transactional), 17, 3, 21, max_bytes + 1)  # it stays below
        sizes: list[int] = []
        for record in records[first:]:
            headers = list(record.headers.items())
            written = expected.append(len(sizes), now, record.key, record.value, headers)
            if written is None:
                break
            sizes.append(written.size)
        assert (count, largest) == (len(sizes), max(sizes))
        wire.seal(batch, count, now, transactional, 17, 3, 21)
        assert batch == expected.build()
        first += count


def test_values_that_are_not_bytes_are_refused() -> None:
    for record in (
        NewRecord("frames", b"", "text"),  # type: ignore[arg-type]
        NewRecord("frames", b"", b"", {"name": "text"}),  # type: ignore[dict-item]
        NewRecord("frames", b"", b"", {b"name": b""}),  # type: ignore[dict-item]
    ):
        with pytest.raises(TypeError):
            wire.pack([record], 0, 1000)
