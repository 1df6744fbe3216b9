# The half of _wire.pyx that writes batches; it is compiled as a part of it.

cdef inline Py_ssize_t varint_bytes(int64_t value) noexcept:
    cdef uint64_t left = <uint64_t>value << 1 ^ <uint64_t>(value >> 63)
    cdef Py_ssize_t size = 1
    while left > 0x7F:
        size += 1
        left >>= 7
    return size


cdef inline uint8_t *put_varint(uint8_t *at, int64_t value) noexcept:
    cdef uint64_t left = <uint64_t>value << 1 ^ <uint64_t>(value >> 63)
    while left > 0x7F:
        at[0] = <uint8_t>(left & 0x7F | 0x80)
        at += 1
        left >>= 7
    at[0] = <uint8_t>left
    return at + 1


cdef inline Py_ssize_t nullable_bytes(bytes content) noexcept:
    return 1 if content is None else varint_bytes(PyBytes_GET_SIZE(content)) + PyBytes_GET_SIZE(content)


cdef inline uint8_t *put_nullable(uint8_t *at, bytes content) noexcept:
    cdef Py_ssize_t size
    if content is None:
        return put_varint(at, -1)
    size = PyBytes_GET_SIZE(content)
    at = put_varint(at, size)
    memcpy(at, PyBytes_AS_STRING(content), size)
    return at + size


cdef Py_ssize_t header_bytes(dict headers) except -1:
    cdef Py_ssize_t place = 0, size, total = varint_bytes(len(headers))
    cdef PyObject *name
    cdef PyObject *content
    while PyDict_Next(headers, &place, &name, &content):
        PyUnicode_AsUTF8AndSize(<object>name, &size)
        total += varint_bytes(size) + size + nullable_bytes(<bytes?><object>content)
    return total


cdef uint8_t *put_headers(uint8_t *at, dict headers) except NULL:
    cdef Py_ssize_t place = 0, size
    cdef PyObject *name
    cdef PyObject *content
    cdef const char *text
    at = put_varint(at, len(headers))
    while PyDict_Next(headers, &place, &name, &content):
        text = PyUnicode_AsUTF8AndSize(<object>name, &size)
        at = put_varint(at, size)
        memcpy(at, text, size)
        at = put_nullable(at + size, <bytes><object>content)
    return at


def pack(list records not None, Py_ssize_t first, Py_ssize_t most_bytes):
    """A batch of records[first:], as many as fit into `most_bytes`, but one at least: (batch, how many, largest).

    The batch lacks its header, which `seal` writes. The largest is a record's size in bytes.
    """
    cdef bytearray batch = PyByteArray_FromStringAndSize(NULL, FIRST_ROOM)
    cdef Py_ssize_t used = HEADER_BYTES, room = FIRST_ROOM, largest = 0, number, body, size
    cdef uint8_t *at
    cdef bytes key, value
    cdef dict headers
    if not 0 <= first <= len(records):
        raise ValueError(f"there is no record {first} among {len(records)}")
    for number in range(len(records) - first):
        record = records[first + number]
        key, value, found = record.key, record.value, record.headers
        headers = found if type(found) is dict else dict(found)
        body = 2 + varint_bytes(number) + nullable_bytes(key) + nullable_bytes(value) + header_bytes(headers)
        size = varint_bytes(body) + body
        if number and used + size > most_bytes:
            break
        if used + size > room:
            room = max(2 * room, used + size)
            PyByteArray_Resize(batch, room)
        at = put_varint(<uint8_t *>PyByteArray_AS_STRING(batch) + used, body)
        at[0] = 0  # attributes: none
        at[1] = 0  # milliseconds since the batch's first
        at = put_varint(at + 2, number)
        at = put_nullable(put_nullable(at, key), value)
        put_headers(at, headers)
        used += size
        largest = max(largest, size)
    else:
        number = len(records) - first
    PyByteArray_Resize(batch, used)
    return batch, number, largest


def seal(
    bytearray batch not None,
    int32_t count,
    int64_t milliseconds,
    bint transactional,
    int64_t producer_id,
    int16_t producer_epoch,
    int32_t sequence,
):
    """Write the header of what `pack` made, with its checksum."""
    cdef uint8_t *at = <uint8_t *>PyByteArray_AS_STRING(batch)
    if len(batch) < HEADER_BYTES:
        raise ValueError(f"a batch of {len(batch)} bytes has no room for its header")
    put_number(at, 0, 8)  # the broker's to say
    put_number(at + 8, len(batch) - LENGTH_END, 4)
    put_number(at + LENGTH_END, <uint64_t>-1, 4)  # the leader's epoch, the broker's too
    at[MAGIC_AT] = 2
    put_number(at + ATTRIBUTES_AT, TRANSACTIONAL if transactional else 0, 2)
    put_number(at + 23, count - 1, 4)
    put_number(at + 27, milliseconds, 8)
    put_number(at + 35, milliseconds, 8)
    put_number(at + 43, producer_id, 8)
    put_number(at + 51, producer_epoch, 2)
    put_number(at + 53, sequence, 4)
    put_number(at + 57, count, 4)
    put_number(at + CRC_AT, crc32c(batch, ATTRIBUTES_AT, len(batch)), 4)
