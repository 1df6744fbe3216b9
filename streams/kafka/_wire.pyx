# cython: language_level=3, boundscheck=False, wraparound=False
"""Kafka's record batches read into records and written from them, in C: what Python code cannot do any faster.

Batches of format 2 that are neither compressed nor markers; all else is aiokafka's. Numbers are big-endian in a batch's
header and zigzag varints in its records. Source: Kafka's protocol guide, "Record Batch" and "Record".

Every length is checked against the end of what it lies in: a batch comes from a network, whatever its checksum says.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize, PyByteArray_Resize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Copy, PyDict_Next, PyDict_SetItem
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeUTF8
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from aiokafka.errors import CorruptRecordException
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c

from streams.transport import Record

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    #if defined(__x86_64__) && defined(__GNUC__)
    #include <nmmintrin.h>
    __attribute__((target("sse4.2")))
    static uint32_t processors_crc(const uint8_t *at, size_t size) {
        uint64_t crc = 0xFFFFFFFF;
        for (; size >= 8; size -= 8, at += 8) {
            uint64_t eight;
            memcpy(&eight, at, 8);
            crc = _mm_crc32_u64(crc, eight);
        }
        for (; size; size--, at++) crc = _mm_crc32_u8((uint32_t)crc, *at);
        return ~(uint32_t)crc;
    }
    static int processor_has_crc(void) { __builtin_cpu_init(); return __builtin_cpu_supports("sse4.2") != 0; }
    #else
    static uint32_t processors_crc(const uint8_t *at, size_t size) { return 0; }
    static int processor_has_crc(void) { return 0; }
    #endif
    """
    uint32_t processors_crc(const uint8_t *at, size_t size) noexcept
    int processor_has_crc() noexcept

cdef enum:
    LENGTH_END = 12  # a batch's length stands up to here, and counts from here
    MAGIC_AT = 16
    CRC_AT = 17
    ATTRIBUTES_AT = 21  # the checksum is of all from here on
    HEADER_BYTES = 61
    COMPRESSED = 7
    APPEND_TIME = 8
    TRANSACTIONAL = 16
    CONTROL = 32
    FIRST_ROOM = 1 << 16

cdef bint HAS_CRC = processor_has_crc()


cdef uint32_t crc32c(object data, Py_ssize_t start, Py_ssize_t stop) except? 0:
    """Of data[start:stop], bytes or a bytearray: the processor's, ten times as fast as aiokafka's, where it has one."""
    cdef const uint8_t *at
    if not HAS_CRC:
        return calc_crc32c(memoryview(data)[start:stop])
    at = <const uint8_t *>(PyBytes_AS_STRING(data) if isinstance(data, bytes) else PyByteArray_AS_STRING(data))
    return processors_crc(at + start, stop - start)


cdef inline uint64_t number_at(const uint8_t *at, int size) noexcept:
    cdef uint64_t value = 0
    cdef int place
    for place in range(size):
        value = value << 8 | at[place]
    return value


cdef inline void put_number(uint8_t *at, uint64_t value, int size) noexcept:
    cdef int place
    for place in range(size):
        at[place] = <uint8_t>(value >> 8 * (size - 1 - place))


# Reading

cdef struct Cursor:
    const uint8_t *at
    const uint8_t *end


cdef inline int64_t varint(Cursor *cursor) except? -1:
    cdef uint64_t value = 0
    cdef int shift = 0
    cdef uint8_t byte
    while cursor.at < cursor.end and shift < 64:
        byte = cursor.at[0]
        cursor.at += 1
        value |= <uint64_t>(byte & 0x7F) << shift
        if not byte & 0x80:
            return <int64_t>(value >> 1) ^ -<int64_t>(value & 1)
        shift += 7
    raise CorruptRecordException("a number has no end")


cdef inline const uint8_t *passed(Cursor *cursor, int64_t size) except NULL:
    """Where `size` bytes begin that the cursor goes past."""
    cdef const uint8_t *at = cursor.at
    if size < 0 or size > cursor.end - at:
        raise CorruptRecordException(f"{size} bytes are said to follow, {cursor.end - at} do")
    cursor.at = at + size
    return at


cdef inline int pass_nullable(Cursor *cursor) except -1:
    cdef int64_t size = varint(cursor)
    if size >= 0:
        passed(cursor, size)
    return 0


cdef inline object nullable(Cursor *cursor):
    cdef int64_t size = varint(cursor)
    return None if size < 0 else PyBytes_FromStringAndSize(<const char *>passed(cursor, size), size)


cdef inline Cursor of_record(Cursor *batch) except *:
    """A cursor on the next record, past its attributes; the batch's goes to its end."""
    cdef Cursor record
    cdef int64_t size = varint(batch)
    record.at = passed(batch, size)
    record.end = batch.at
    varint(&record)  # attributes, of which there are none: a byte, read as aiokafka does
    return record


cdef int64_t checked_offset(Cursor *batch) except? -1:
    """Look at the whole next record; its offset from the batch's first."""
    cdef Cursor record = of_record(batch)
    cdef int64_t offset, count
    varint(&record)
    offset = varint(&record)
    pass_nullable(&record)
    pass_nullable(&record)
    count = varint(&record)
    if count < 0:
        raise CorruptRecordException(f"a record has {count} headers")
    while count:
        passed(&record, varint(&record))
        pass_nullable(&record)
        count -= 1
    if record.at != record.end:
        raise CorruptRecordException(f"{record.end - record.at} bytes follow a record's headers")
    return offset


cdef class Batch:
    """One batch of a fetch, of which `take` gives records, each once. Stands in aiokafka's code for its own."""

    cdef bytes _data
    cdef Py_ssize_t _start, _at, _stop
    cdef int32_t _left
    cdef int64_t _first_timestamp, _max_timestamp, _least
    cdef bint _append_time
    cdef list _names, _values
    cdef dict _headers
    cdef object _partition, _epoch
    cdef readonly int64_t base_offset, next_offset, producer_id
    cdef readonly bint is_transactional

    is_control_batch = False

    def __cinit__(self, bytes data not None, Py_ssize_t start, Py_ssize_t stop):
        cdef const uint8_t *at = <const uint8_t *>PyBytes_AS_STRING(data) + start
        cdef uint64_t attributes
        if start < 0 or stop > len(data) or stop - start < HEADER_BYTES:
            raise ValueError(f"no batch lies in {len(data)} bytes between {start} and {stop}")
        attributes = number_at(at + ATTRIBUTES_AT, 2)
        self._data, self._start, self._at, self._stop = data, start, start + HEADER_BYTES, stop
        self._append_time = attributes & APPEND_TIME != 0
        self.is_transactional = attributes & TRANSACTIONAL != 0
        self.base_offset = <int64_t>number_at(at, 8)
        self.next_offset = self.base_offset + <int32_t>number_at(at + 23, 4) + 1
        self._first_timestamp = <int64_t>number_at(at + 27, 8)
        self._max_timestamp = <int64_t>number_at(at + 35, 8)
        self.producer_id = <int64_t>number_at(at + 43, 8)
        self._left = <int32_t>number_at(at + 57, 4)
        self._names, self._values, self._headers = [], [], {}

    def validate_crc(self):
        cdef const uint8_t *at = <const uint8_t *>PyBytes_AS_STRING(self._data) + self._start
        return number_at(at + CRC_AT, 4) == crc32c(self._data, self._start + ATTRIBUTES_AT, self._stop)

    @property
    def offset(self):
        """Of the last record: aiokafka takes this batch for the only record in it."""
        return self.next_offset - 1

    def __iter__(self):
        return iter((self,))

    def __len__(self):
        return self._left

    def begin(self, int64_t offset):
        """Look at all of it, once, and leave out what lies before `offset`. Raises CorruptRecordException.

        So nothing is found wrong when records before it have been handed out.
        """
        cdef const uint8_t *base = <const uint8_t *>PyBytes_AS_STRING(self._data)
        cdef Cursor cursor = Cursor(base + self._at, base + self._stop)
        cdef int32_t count = self._left
        cdef int64_t following = offset, found
        if count < 0:
            raise CorruptRecordException(f"a batch has {count} records")
        self._least, self._left = offset, 0
        for _ in range(count):
            found = self.base_offset + checked_offset(&cursor)
            if found >= following:
                self._left += 1
                following = found + 1
        if cursor.at != cursor.end:
            raise CorruptRecordException(f"{cursor.end - cursor.at} bytes follow a batch's records")
        return self

    def bind(self, partition, epoch):
        """Say whose records these are."""
        self._partition, self._epoch = partition, epoch
        return self

    def take(self, Py_ssize_t count):
        """The next `count` records, or as many as are left."""
        cdef const uint8_t *base = <const uint8_t *>PyBytes_AS_STRING(self._data)
        cdef Cursor cursor = Cursor(base + self._at, base + self._stop), record
        cdef int64_t delta, offset, milliseconds
        cdef list found = []
        while count > 0 and self._left > 0:
            record = of_record(&cursor)
            delta = varint(&record)
            offset = self.base_offset + varint(&record)
            self._at = cursor.at - base
            if offset < self._least:
                continue
            self._least = offset + 1
            milliseconds = self._max_timestamp if self._append_time else self._first_timestamp + delta
            key, value = nullable(&record), nullable(&record)
            headers = self._read_headers(&record)
            key = b"" if key is None else key  # other producers may send none
            found.append(Record(self._partition, offset, self._epoch, key, value, headers, milliseconds / 1000))
            count -= 1
            self._left -= 1
        return found

    cdef dict _read_headers(self, Cursor *record):
        """Names and most values are the last record's: then its objects are used again, and its dict is copied.

        As in Java's client, a name that is no UTF-8 gets replacement characters: it would stop the partition for good.
        """
        cdef int64_t count = varint(record), size
        cdef Py_ssize_t number
        cdef const uint8_t *at
        # so far; of headers that come twice the last one counts, and a copy would keep the wrong one
        cdef bint alike = count == len(self._names) == len(self._headers)
        cdef dict headers = self._headers if alike else {}
        for number in range(count):
            size = varint(record)
            at = passed(record, size)
            if number == len(self._names):
                self._names.append(None)
                self._values.append(None)
            if not is_text(self._names[number], at, size):
                self._names[number] = PyUnicode_DecodeUTF8(<char *>at, size, "replace")
                if alike:
                    alike, headers = False, dict(zip(self._names[:number], self._values[:number]))
            size = varint(record)
            at = NULL if size < 0 else passed(record, size)
            if is_content(self._values[number], at, size):
                if alike:
                    continue
            else:
                self._values[number] = None if at == NULL else PyBytes_FromStringAndSize(<const char *>at, size)
            PyDict_SetItem(headers, self._names[number], self._values[number])
        del self._names[max(count, 0):], self._values[max(count, 0):]
        self._headers = headers
        return PyDict_Copy(headers)


cdef inline bint is_text(object text, const uint8_t *at, Py_ssize_t size) except -1:
    cdef Py_ssize_t has
    cdef const char *begins
    if text is None:
        return False
    begins = PyUnicode_AsUTF8AndSize(text, &has)
    return has == size and memcmp(begins, at, size) == 0


cdef inline bint is_content(object content, const uint8_t *at, Py_ssize_t size) noexcept:
    if content is None or at == NULL:
        return content is None and at == NULL
    return PyBytes_GET_SIZE(content) == size and memcmp(PyBytes_AS_STRING(content), at, size) == 0


cdef class Batches:
    """The batches of one partition's part of a fetch, the last of which may be cut off. As aiokafka's MemoryRecords."""

    cdef bytes _data
    cdef Py_ssize_t _at

    def __cinit__(self, bytes data not None):
        self._data, self._at = data, 0

    def size_in_bytes(self):
        return len(self._data)

    def has_next(self):
        return self._stop() > 0

    def next_batch(self):
        """Raises CorruptRecordException."""
        cdef Py_ssize_t start = self._at, stop = self._stop()
        cdef const uint8_t *at = <const uint8_t *>PyBytes_AS_STRING(self._data) + start
        if not stop:
            raise CorruptRecordException("there is no whole batch")
        self._at = stop
        if stop - start <= LENGTH_END:
            raise CorruptRecordException("a batch has no bytes")
        if stop - start < HEADER_BYTES or at[MAGIC_AT] != 2 or at[ATTRIBUTES_AT + 1] & (COMPRESSED | CONTROL):
            return MemoryRecords(self._data[start:stop]).next_batch()
        return Batch(self._data, start, stop)

    cdef Py_ssize_t _stop(self) noexcept:
        """Where the next batch ends, 0 if there is no whole one."""
        cdef Py_ssize_t left = len(self._data) - self._at
        cdef int32_t size
        if left < LENGTH_END:
            return 0
        size = <int32_t>number_at(<const uint8_t *>PyBytes_AS_STRING(self._data) + self._at + 8, 4)
        return 0 if size > left - LENGTH_END else self._at + LENGTH_END + max(size, 0)


include "_writing.pxi"
