"""Batches as they are read here against aiokafka: the same records and bytes, and damaged batches are refused."""

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
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given

from streams.kafka.aiokafka_internals.fetcher import RawPartitionRecords
from streams.kafka.compiled.wire import wire
from streams.kafka.fetched_records import runs
from streams.kafka.record_batches import WHOLE_BATCHES, Batches, ReadBatches, as_record
from streams.kafka.unpacking import MAX_UNPACKED_BYTES
from streams.transport import NewRecord, Partition, Record
from tests.support.kafka_batches import (
    ATTRIBUTES,
    NONE,
    batch_with_name,
    compressed,
    stored,
    with_checksum,
)

WAYS = [False] if wire is None else [False, True]
"""Without and with the compiled code, where there was a C compiler."""
needs_compiled = pytest.mark.skipif(wire is None, reason="the compiled code was not built: there was no C compiler")

TOPIC_PARTITION, PARTITION, EPOCH = TopicPartition("frames", 3), Partition("frames", 3), 7
READ_OPTIONS = None, None, True, READ_COMMITTED
"""No deserializers, with checksums."""
ZSTD, COUNT, CONTROL = 4, 57, 32
COMPRESSIONS = range(5)

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
        data += stored(batch.build(), offset, draw(st.sampled_from([0, 8])))
        offset += 2 * len(contents_) + draw(st.integers(0, 3))
    return data


def plain(data: bytes, offset: int, batches: type = MemoryRecords) -> list[Record]:
    """The records as aiokafka reads them."""
    read = PartitionRecords(TOPIC_PARTITION, batches(data), [], offset, *READ_OPTIONS)
    return [as_record(PARTITION, EPOCH, record) for record in read]


def taken(data: bytes, offset: int, count: int = 1 << 30, *, compiled: bool) -> list[Record]:
    records: list[Record] = []
    batches = Batches(data, compiled=compiled)
    for run in runs(PARTITION, EPOCH, list(RawPartitionRecords(TOPIC_PARTITION, batches, [], offset, *READ_OPTIONS))):
        while len(run):
            portion = run.take(count)
            assert len(portion) <= count
            records += portion
    return records


@given(batches(), st.integers(-5, 60), st.integers(1, 5), st.integers(0, 60))
@pytest.mark.parametrize("compiled", WAYS)
def test_records_are_those_that_aiokafka_reads(
    compiled: bool,  # noqa: FBT001
    data: bytes,
    skipped: int,
    count: int,
    cut: int,
) -> None:
    """From any offset, in portions of any size, also if the last batch is cut off."""
    begin = struct.unpack_from(">q", data)[0] + skipped
    data = data[: len(data) - cut]
    assert taken(data, begin, count, compiled=compiled) == plain(data, begin) == plain(data, begin, ReadBatches)


@given(batches(compressions=[NONE]), st.data())
def test_damaged_batches_are_refused_as_by_aiokafka(data: bytes, choose: st.DataObject) -> None:
    """A byte after the checksum is changed, and the checksum fits: as a faulty producer would write it.

    Without the compiled code, their records come without content and with the fault: a broker refuses such a batch.
    """
    stop = 12 + struct.unpack_from(">i", data, 8)[0]
    batch = bytearray(data[:stop])
    batch[choose.draw(st.integers(COUNT + 2, stop - 1))] = choose.draw(st.integers(0, 255))
    damaged = with_checksum(batch)
    try:
        expected = plain(damaged, 0)
    except UnicodeDecodeError:
        expected = None
    except CorruptRecordException:
        if wire is not None:
            with pytest.raises(CorruptRecordException):
                taken(damaged, 0, compiled=True)
        assert all(record.fault and record.value is None for record in taken(damaged, 0, compiled=False))
        return
    for way in WAYS:
        with suppress(CorruptRecordException):  # another field may be damaged, too
            read = taken(damaged, 0, compiled=way)
            assert expected is None or read == expected


@given(batches(), st.data())
@pytest.mark.parametrize("compiled", WAYS)
def test_a_wrong_checksum_is_found(compiled: bool, data: bytes, choose: st.DataObject) -> None:  # noqa: FBT001
    batch, last = bytearray(data), 11 + struct.unpack_from(">i", data, 8)[0]
    batch[choose.draw(st.integers(ATTRIBUTES, last))] ^= 1 << choose.draw(st.integers(0, 7))
    batch[ATTRIBUTES + 1] &= ~CONTROL
    with pytest.raises(CorruptRecordException, match="CRC"):
        taken(bytes(batch), 0, compiled=compiled)


@given(st.binary(max_size=200) | batches())
@pytest.mark.parametrize("compiled", WAYS)
def test_no_bytes_crash_it(compiled: bool, data: bytes) -> None:  # noqa: FBT001
    """Reading ends, and an error is raised where a batch is read, as aiokafka's fetcher expects."""
    batches = Batches(data, compiled=compiled)
    while batches.has_next():
        with suppress(CorruptRecordException):
            batch = batches.next_batch()
            if isinstance(batch, WHOLE_BATCHES):
                batch.begin(0).bind(PARTITION, EPOCH).take(100)


@pytest.mark.parametrize("compiled", WAYS)
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_name_that_is_not_utf_8_is_repaired_and_stops_no_reading(
    compiled: bool,  # noqa: FBT001
    compression: int,
) -> None:
    data = stored(batch_with_name("na\xefve".encode("latin-1"), compression), 5, 0)
    expected = [{"na\N{REPLACEMENT CHARACTER}ve": b"1", "empty": b""}] * 2
    assert [record.headers for record in taken(data, 0, compiled=compiled)] == expected
    assert [record.headers for record in plain(data, 0, ReadBatches)] == expected


@pytest.mark.parametrize("compiled", WAYS)
@pytest.mark.parametrize(("magic", "compression", "timestamp"), [(0, 0, 0.0), (0, 1, 0.0), (1, 0, 1.5), (1, 1, 1.5)])
def test_older_formats_have_no_headers_and_the_oldest_no_timestamp(
    compiled: bool,  # noqa: FBT001
    magic: int,
    compression: int,
    timestamp: float,
) -> None:
    batch = LegacyRecordBatchBuilder(magic, compression, 1 << 20)
    for number in range(2):
        batch.append(number, None if magic == 0 else 1500, b"k", None if number else b"v")
    records = taken(bytes(batch.build()), 0, compiled=compiled)
    assert [(record.key, record.value, record.headers, record.timestamp) for record in records] == [
        (b"k", b"v", {}, timestamp),
        (b"k", None, {}, timestamp),
    ]


@pytest.mark.parametrize("compiled", WAYS)
@pytest.mark.parametrize("compression", COMPRESSIONS[1:])
def test_a_batch_that_unpacks_to_gigabytes_takes_little_memory(compiled: bool, compression: int) -> None:  # noqa: FBT001
    batch = DefaultRecordBatchBuilder(2, NONE, 0, -1, -1, 0, 1 << 30)
    for number in range(3):
        batch.append(number, 0, None, bytes(MAX_UNPACKED_BYTES // 2), [])
    bomb = stored(compressed(bytes(batch.build()), compression), 5, 0)
    assert len(bomb) < MAX_UNPACKED_BYTES // 10
    records = taken(bomb + stored(batch_with_name(b"n", NONE), 8, 0), 0, 1, compiled=compiled)
    assert [(record.offset, record.value) for record in records] == [
        (5, None),
        (6, None),
        (7, None),
        (8, b"v"),
        (9, b"v"),
    ]
    assert all("the batch at offset 5 cannot be read" in record.fault for record in records[:3])
    assert not records[3].fault


@pytest.mark.parametrize("compiled", WAYS)
@pytest.mark.parametrize("compression", [1, 2, 3, 4, 5, 7])
def test_what_does_not_unpack_comes_without_content(compiled: bool, compression: int) -> None:  # noqa: FBT001
    batch = batch_with_name(b"n", NONE)
    batch[ATTRIBUTES + 1] |= compression
    records = taken(stored(batch, 5, 0), 6, compiled=compiled)
    assert [(record.offset, record.value, record.headers) for record in records] == [(6, None, {})]
    assert records[0].fault
    assert [record.offset for record in plain(stored(batch, 5, 0), 5, ReadBatches)] == [5, 6]


outgoing = st.builds(
    NewRecord,
    st.just("frames"),
    contents,
    st.none() | contents | st.just(b"v" * 70_000),
    st.dictionaries(names, contents, max_size=6),
)


@needs_compiled
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


@needs_compiled
def test_values_that_are_not_bytes_are_refused() -> None:
    for record in (
        NewRecord("frames", b"", "text"),  # type: ignore[arg-type]
        NewRecord("frames", b"", b"", {"name": "text"}),  # type: ignore[dict-item]
        NewRecord("frames", b"", b"", {b"name": b""}),  # type: ignore[dict-item]
    ):
        with pytest.raises(TypeError):
            wire.pack([record], 0, 1000)
