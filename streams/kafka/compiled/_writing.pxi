# The half of _wire.pyx that writes batches; it is compiled as a part of it.

cdef inline Py_ssize_t varint_bytes(int64_t value) noexcept:
    cdef uint64_t left = <uint64_t>value << 1 ^ <uint64_t>(value >> 63)
    cdef Py_ssize_t size = 1
    while left > 0x7F:
        size += 1
        left >>= 7
    return size


cdef inline uint8_t *put_varint(uint8_t *target, int64_t value) noexcept:
    cdef uint64_t left = <uint64_t>value << 1 ^ <uint64_t>(value >> 63)
    while left > 0x7F:
        target[0] = <uint8_t>(left & 0x7F | 0x80)
        target += 1
        left >>= 7
    target[0] = <uint8_t>left
    return target + 1


cdef inline Py_ssize_t nullable_bytes(bytes content) noexcept:
    return 1 if content is None else varint_bytes(PyBytes_GET_SIZE(content)) + PyBytes_GET_SIZE(content)


cdef inline uint8_t *put_nullable(uint8_t *target, bytes content) noexcept:
    cdef Py_ssize_t size
    if content is None:
        return put_varint(target, -1)
    size = PyBytes_GET_SIZE(content)
    target = put_varint(target, size)
    memcpy(target, PyBytes_AS_STRING(content), size)
    return target + size


cdef Py_ssize_t header_bytes(dict headers) except -1:
    cdef Py_ssize_t position = 0, size, total = varint_bytes(len(headers))
    cdef PyObject *name
    cdef PyObject *content
    while PyDict_Next(headers, &position, &name, &content):
        PyUnicode_AsUTF8AndSize(<object>name, &size)
        total += varint_bytes(size) + size + nullable_bytes(<bytes?><object>content)
    return total


cdef uint8_t *put_headers(uint8_t *target, dict headers) except NULL:
    cdef Py_ssize_t position = 0, size
    cdef PyObject *name
    cdef PyObject *content
    cdef const char *text
    target = put_varint(target, len(headers))
    while PyDict_Next(headers, &position, &name, &content):
        text = PyUnicode_AsUTF8AndSize(<object>name, &size)
        target = put_varint(target, size)
        memcpy(target, text, size)
        target = put_nullable(target + size, <bytes><object>content)
    return target


def pack(list records not None, Py_ssize_t first, Py_ssize_t max_bytes):
    """A batch of records[first:], as many as fit into `max_bytes`, but one at least: (batch, count, largest record).

    The batch lacks its header, which `seal` writes. The largest record's size is in bytes, as the format has it.
    """
    cdef bytearray batch = PyByteArray_FromStringAndSize(NULL, INITIAL_BYTES)
    cdef Py_ssize_t used = HEADER_BYTES, capacity = INITIAL_BYTES, largest = 0, number, body, size
    cdef uint8_t *target
    cdef bytes key, value
    cdef dict headers
    if not 0 <= first <= len(records):
        raise ValueError(f"record {first} is not among {len(records)}")
    for number in range(len(records) - first):
        record = records[first + number]
        key, value, mapping = record.key, record.value, record.headers
        headers = mapping if type(mapping) is dict else dict(mapping)
        body = 2 + varint_bytes(number) + nullable_bytes(key) + nullable_bytes(value) + header_bytes(headers)
        size = varint_bytes(body) + body
        if number and used + size > max_bytes:
            break
        if used + size > capacity:
            capacity = max(2 * capacity, used + size)
            PyByteArray_Resize(batch, capacity)
        target = put_varint(<uint8_t *>PyByteArray_AS_STRING(batch) + used, body)
        target[0] = 0  # attributes: none
        target[1] = 0  # milliseconds since the batch's first record
        target = put_varint(target + 2, number)
        target = put_nullable(put_nullable(target, key), value)
        put_headers(target, headers)
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
    """Write the header of a batch that `pack` made, with its checksum."""
    cdef uint8_t *header = <uint8_t *>PyByteArray_AS_STRING(batch)
    if len(batch) < HEADER_BYTES:
        raise ValueError(f"a batch of {len(batch)} bytes has no room for its header")
    put_number(header, 0, 8)  # the base offset, which the broker sets
    put_number(header + 8, len(batch) - LENGTH_END, 4)
    put_number(header + LENGTH_END, <uint64_t>-1, 4)  # the leader's epoch, which the broker sets too
    header[MAGIC_OFFSET] = 2
    put_number(header + ATTRIBUTES_OFFSET, TRANSACTIONAL if transactional else 0, 2)
    put_number(header + LAST_DELTA_OFFSET, count - 1, 4)
    put_number(header + FIRST_TIMESTAMP_OFFSET, milliseconds, 8)
    put_number(header + MAX_TIMESTAMP_OFFSET, milliseconds, 8)
    put_number(header + PRODUCER_ID_OFFSET, producer_id, 8)
    put_number(header + PRODUCER_EPOCH_OFFSET, producer_epoch, 2)
    put_number(header + SEQUENCE_OFFSET, sequence, 4)
    put_number(header + COUNT_OFFSET, count, 4)
    put_number(header + CRC_OFFSET, crc32c(batch, ATTRIBUTES_OFFSET, len(batch)), 4)
