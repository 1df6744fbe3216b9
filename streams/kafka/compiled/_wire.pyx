# cython: language_level=3, boundscheck=False, wraparound=False
"""Reads records from Kafka's record batches and writes batches of records, in C.

It takes batches of format 2 that are neither compressed nor control batches. Numbers are big-endian in a batch's header
and zigzag varints in its records. Source: Kafka's protocol guide, "Record Batch" and "Record".

Every length is checked against the end of what it lies in: a batch comes from a network, and a checksum that fits
proves nothing about its lengths.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize, PyByteArray_Resize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Copy, PyDict_Next, PyDict_SetItem
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeUTF8
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from aiokafka.errors import CorruptRecordException
from aiokafka.record.util import calc_crc32c

from streams.transport import Record

include "_checksum.pxi"

cdef enum:
    LENGTH_END = 12  # a batch's length field ends here, and counts the bytes from here
    MAGIC_OFFSET = 16
    CRC_OFFSET = 17
    ATTRIBUTES_OFFSET = 21  # the checksum covers everything from here
    LAST_DELTA_OFFSET = 23
    FIRST_TIMESTAMP_OFFSET = 27
    MAX_TIMESTAMP_OFFSET = 35
    PRODUCER_ID_OFFSET = 43
    PRODUCER_EPOCH_OFFSET = 51
    SEQUENCE_OFFSET = 53
    COUNT_OFFSET = 57
    HEADER_BYTES = 61
    APPEND_TIME = 8
    TRANSACTIONAL = 16
    INITIAL_BYTES = 1 << 16


cdef inline uint64_t get_number(const uint8_t *source, int size) noexcept:
    cdef uint64_t value = 0
    cdef int index
    for index in range(size):
        value = value << 8 | source[index]
    return value


cdef inline void put_number(uint8_t *target, uint64_t value, int size) noexcept:
    cdef int index
    for index in range(size):
        target[index] = <uint8_t>(value >> 8 * (size - 1 - index))


# Reading

cdef struct Cursor:
    const uint8_t *next
    const uint8_t *end


cdef inline int64_t read_varint(Cursor *cursor) except? -1:
    cdef uint64_t value = 0
    cdef int shift = 0
    cdef uint8_t byte
    while cursor.next < cursor.end and shift < 64:
        byte = cursor.next[0]
        cursor.next += 1
        value |= <uint64_t>(byte & 0x7F) << shift
        if not byte & 0x80:
            return <int64_t>(value >> 1) ^ -<int64_t>(value & 1)
        shift += 7
    raise CorruptRecordException("a number has no end")


cdef inline const uint8_t *skip(Cursor *cursor, int64_t size) except NULL:
    """Move past `size` bytes; where they begin."""
    cdef const uint8_t *start = cursor.next
    if size < 0 or size > cursor.end - start:
        raise CorruptRecordException(f"a length is {size}, but {cursor.end - start} bytes are left")
    cursor.next = start + size
    return start


cdef inline int skip_nullable(Cursor *cursor) except -1:
    cdef int64_t size = read_varint(cursor)
    if size >= 0:
        skip(cursor, size)
    return 0


cdef inline object read_nullable(Cursor *cursor):
    cdef int64_t size = read_varint(cursor)
    return None if size < 0 else PyBytes_FromStringAndSize(<const char *>skip(cursor, size), size)


cdef inline Cursor next_record(Cursor *batch) except *:
    """A cursor on the next record, past its attributes; the batch's moves to the record's end."""
    cdef Cursor record
    cdef int64_t size = read_varint(batch)
    record.next = skip(batch, size)
    record.end = batch.next
    read_varint(&record)  # a record has no attributes; the byte is read as aiokafka reads it
    return record


cdef int64_t check_record(Cursor *batch) except? -1:
    """Check the whole next record; its offset from the batch's first."""
    cdef Cursor record = next_record(batch)
    cdef int64_t offset, count
    read_varint(&record)
    offset = read_varint(&record)
    skip_nullable(&record)
    skip_nullable(&record)
    count = read_varint(&record)
    if count < 0:
        raise CorruptRecordException(f"a record has {count} headers")
    while count:
        skip(&record, read_varint(&record))
        skip_nullable(&record)
        count -= 1
    if record.next != record.end:
        raise CorruptRecordException(f"{record.end - record.next} bytes follow a record's headers")
    return offset


cdef class Batch:
    """One batch of a fetch; `take` gives its records, each once. aiokafka's code uses it in place of its own batch."""

    cdef bytes _data
    cdef Py_ssize_t _start, _position, _stop
    cdef int32_t _left
    cdef int64_t _first_timestamp, _max_timestamp, _min_offset
    cdef bint _append_time
    cdef list _names, _values
    cdef dict _headers
    cdef object _partition, _epoch
    cdef readonly int64_t base_offset, next_offset, producer_id
    cdef readonly bint is_transactional

    is_control_batch = False

    def __cinit__(self, bytes data not None, Py_ssize_t start, Py_ssize_t stop):
        cdef const uint8_t *header = <const uint8_t *>PyBytes_AS_STRING(data) + start
        cdef uint64_t attributes
        if start < 0 or stop > len(data) or stop - start < HEADER_BYTES:
            raise ValueError(f"{len(data)} bytes hold no batch between {start} and {stop}")
        attributes = get_number(header + ATTRIBUTES_OFFSET, 2)
        self._data, self._start, self._position, self._stop = data, start, start + HEADER_BYTES, stop
        self._append_time = attributes & APPEND_TIME != 0
        self.is_transactional = attributes & TRANSACTIONAL != 0
        self.base_offset = <int64_t>get_number(header, 8)
        self.next_offset = self.base_offset + <int32_t>get_number(header + LAST_DELTA_OFFSET, 4) + 1
        self._first_timestamp = <int64_t>get_number(header + FIRST_TIMESTAMP_OFFSET, 8)
        self._max_timestamp = <int64_t>get_number(header + MAX_TIMESTAMP_OFFSET, 8)
        self.producer_id = <int64_t>get_number(header + PRODUCER_ID_OFFSET, 8)
        self._left = <int32_t>get_number(header + COUNT_OFFSET, 4)
        self._names, self._values, self._headers = [], [], {}

    def validate_crc(self):
        cdef const uint8_t *header = <const uint8_t *>PyBytes_AS_STRING(self._data) + self._start
        return get_number(header + CRC_OFFSET, 4) == crc32c(self._data, self._start + ATTRIBUTES_OFFSET, self._stop)

    @property
    def offset(self):
        """Of the last record: to aiokafka this batch is the only record in it."""
        return self.next_offset - 1

    def __iter__(self):
        return iter((self,))

    def __len__(self):
        return self._left

    def begin(self, int64_t offset):
        """Check all of it, once, and leave out what lies before `offset`. Raises CorruptRecordException.

        So no error is found after records of this batch have been handed out.
        """
        cdef const uint8_t *base = <const uint8_t *>PyBytes_AS_STRING(self._data)
        cdef Cursor cursor = Cursor(base + self._position, base + self._stop)
        cdef int32_t count = self._left
        cdef int64_t following = offset, record_offset
        if count < 0:
            raise CorruptRecordException(f"a batch has {count} records")
        self._min_offset, self._left = offset, 0
        for _ in range(count):
            record_offset = self.base_offset + check_record(&cursor)
            if record_offset >= following:
                self._left += 1
                following = record_offset + 1
        if cursor.next != cursor.end:
            raise CorruptRecordException(f"{cursor.end - cursor.next} bytes follow a batch's records")
        return self

    def bind(self, partition, epoch):
        """Set the partition and epoch of the records."""
        self._partition, self._epoch = partition, epoch
        return self

    def take(self, Py_ssize_t count):
        """The next `count` records, or as many as are left."""
        cdef const uint8_t *base = <const uint8_t *>PyBytes_AS_STRING(self._data)
        cdef Cursor cursor = Cursor(base + self._position, base + self._stop), record
        cdef int64_t delta, offset, milliseconds
        cdef list records = []
        while count > 0 and self._left > 0:
            record = next_record(&cursor)
            delta = read_varint(&record)
            offset = self.base_offset + read_varint(&record)
            self._position = cursor.next - base
            if offset < self._min_offset:
                continue
            self._min_offset = offset + 1
            milliseconds = self._max_timestamp if self._append_time else self._first_timestamp + delta
            key, value = read_nullable(&record), read_nullable(&record)
            headers = self._read_headers(&record)
            key = b"" if key is None else key  # other producers may send none
            records.append(Record(self._partition, offset, self._epoch, key, value, headers, milliseconds / 1000))
            count -= 1
            self._left -= 1
        return records

    cdef dict _read_headers(self, Cursor *record):
        """Names and most values equal the last record's: then its objects are used again, and its dict is copied.

        As in Java's client, a name that is not UTF-8 gets replacement characters: an error would stop the partition
        for good.
        """
        cdef int64_t count = read_varint(record), size
        cdef Py_ssize_t number
        cdef const uint8_t *content
        # Equal so far. Of headers with the same name the last one counts, and a copy would keep the wrong one.
        cdef bint same = count == len(self._names) == len(self._headers)
        cdef dict headers = self._headers if same else {}
        for number in range(count):
            size = read_varint(record)
            content = skip(record, size)
            if number == len(self._names):
                self._names.append(None)
                self._values.append(None)
            if not is_text(self._names[number], content, size):
                self._names[number] = PyUnicode_DecodeUTF8(<char *>content, size, "replace")
                if same:
                    same, headers = False, dict(zip(self._names[:number], self._values[:number]))
            size = max(read_varint(record), 0)  # other producers may send no value
            content = skip(record, size)
            if is_content(self._values[number], content, size):
                if same:
                    continue
            else:
                self._values[number] = PyBytes_FromStringAndSize(<const char *>content, size)
            PyDict_SetItem(headers, self._names[number], self._values[number])
        del self._names[max(count, 0):], self._values[max(count, 0):]
        self._headers = headers
        return PyDict_Copy(headers)


cdef inline bint is_text(object text, const uint8_t *content, Py_ssize_t size) except -1:
    cdef Py_ssize_t text_size
    cdef const char *encoded
    if text is None:
        return False
    encoded = PyUnicode_AsUTF8AndSize(text, &text_size)
    return text_size == size and memcmp(encoded, content, size) == 0


cdef inline bint is_content(object value, const uint8_t *content, Py_ssize_t size) noexcept:
    if value is None:
        return False
    return PyBytes_GET_SIZE(value) == size and memcmp(PyBytes_AS_STRING(value), content, size) == 0


include "_writing.pxi"
