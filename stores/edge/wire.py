"""The protocol on the index process's socket: four bytes of length (little-endian), then msgpack.

A client numbers its calls and may send many before the first is answered; replies carry the number. Every request is
idempotent, so a client can repeat it after a restart of the process.
"""

from __future__ import annotations

from asyncio import IncompleteReadError, StreamReader

import msgspec
from msgspec import Struct

from stores.index import CollectionSpec, Filter

SOCKET = "index.3.sock"
"""The number is this protocol's version: clients and processes of different versions never connect."""
LENGTH_BYTES = 4
LARGEST_BYTES = 256 * 1024 * 1024
"""A longer message is no valid one: 256 points of two 4,096-number vectors are 8 MiB."""
BUFFER_BYTES = 4 * 1024 * 1024
"""A stream's buffer: a whole upsert, so that the next one is received while one is applied."""


class Floats(Struct, frozen=True, array_like=True):
    """Vectors of one name: float32 little-endian [len(rows), size], for the points at `rows` of the batch."""

    name: str
    rows: list[int]
    size: int
    numbers: bytes


class Ensure(Struct, frozen=True, array_like=True, tag=True):
    spec: CollectionSpec
    alias: str | None


class Upsert(Struct, frozen=True, array_like=True, tag=True):
    """`payloads` is a JSON array, an object per id."""

    collection: str
    ids: list[str]
    vectors: list[Floats]
    payloads: bytes


class Delete(Struct, frozen=True, array_like=True, tag=True):
    collection: str
    where: Filter


class Search(Struct, frozen=True, array_like=True, tag=True):
    collection: str
    name: str
    vector: bytes
    where: Filter | None
    limit: int
    with_vectors: list[str]


class Get(Struct, frozen=True, array_like=True, tag=True):
    collection: str
    ids: list[str]
    with_vectors: list[str]


class Scroll(Struct, frozen=True, array_like=True, tag=True):
    collection: str
    where: Filter | None
    limit: int
    after: str | None


class Ordered(Struct, frozen=True, array_like=True, tag=True):
    """By descending `field`."""

    collection: str
    field: str
    where: Filter
    limit: int


class Count(Struct, frozen=True, array_like=True, tag=True):
    collection: str
    where: Filter | None


class Facet(Struct, frozen=True, array_like=True, tag=True):
    collection: str
    field: str
    where: Filter | None
    limit: int


class Remove(Struct, frozen=True, array_like=True, tag=True):
    collection: str


class Collections(Struct, frozen=True, array_like=True, tag=True):
    pass


class Verify(Struct, frozen=True, array_like=True, tag=True):
    """Read the next `limit` points whole; answered with the ids of damaged ones, the number read, and the next id."""

    collection: str
    limit: int
    after: str | None


class Export(Struct, frozen=True, array_like=True, tag=True):
    """The next `limit` points as they are stored."""

    collection: str
    limit: int
    after: str | None


class Compact(Struct, frozen=True, array_like=True, tag=True):
    """Rebuild every collection soon, whatever it holds; `Storage` says when that is done."""


class Storage(Struct, frozen=True, array_like=True, tag=True):
    pass


class Salvage(Struct, frozen=True, array_like=True, tag=True):
    """Replace each damaged collection by one of the points that can still be read, or by an empty one."""


class Flush(Struct, frozen=True, array_like=True, tag=True):
    pass


class Snapshot(Struct, frozen=True, array_like=True, tag=True):
    """A copy of the whole index in `folder`, an absolute path; the answer is the number of points by collection.

    With `held`, writes wait after the answer, until `Release`.
    """

    folder: str
    held: bool = False


class Release(Struct, frozen=True, array_like=True, tag=True):
    """Let the writes go on that the snapshot to `folder` holds; the answer is whether it held them until now."""

    folder: str


Writing = Ensure | Upsert | Delete | Remove
Reading = Search | Get | Scroll | Ordered | Count | Facet | Collections | Verify | Export | Compact | Storage
Lasting = Snapshot | Salvage
"""Answered when they are done; others are answered meanwhile."""
Request = Writing | Reading | Lasting | Flush | Release


class Exported(Struct, frozen=True, array_like=True):
    """Stored points; `payloads` is a JSON array of stored payloads, an object per id."""

    ids: list[str]
    vectors: list[Floats]
    payloads: bytes
    next_id: str | None


class Stored(Struct, frozen=True, array_like=True):
    """What a collection holds, and the space that it takes on the disk."""

    points: int
    bytes: int
    compacting: bool
    """Whether a rebuild is running or requested."""
    failure: str
    """Why the last rebuild failed, or empty."""


class Call(Struct, frozen=True, array_like=True):
    """One request, numbered by its client."""

    number: int
    request: Request


class Reply(Struct, frozen=True, array_like=True):
    """`error` names a class of `stores.errors`, or is empty; `result` is msgpack of the request's own type."""

    number: int
    error: str
    message: str
    result: msgspec.Raw
    warning: str = ""
    """What a person should know, beside a valid result."""


_encoder = msgspec.msgpack.Encoder()
_calls = msgspec.msgpack.Decoder(Call)
_replies = msgspec.msgpack.Decoder(Reply)


def frame(message: Call | Reply) -> bytes:
    body = _encoder.encode(message)
    return len(body).to_bytes(LENGTH_BYTES, "little") + body


def result(value: object) -> msgspec.Raw:
    return msgspec.Raw(_encoder.encode(value))


def call(body: bytes) -> Call:
    """Decode a call. Raises msgspec.MsgspecError for bytes that are none."""
    return _calls.decode(body)


def reply(body: bytes) -> Reply:
    return _replies.decode(body)


async def read(stream: StreamReader) -> bytes | None:
    """The next message's body, or None at the end of the stream. Raises ConnectionError for a length out of range."""
    try:
        length = int.from_bytes(await stream.readexactly(LENGTH_BYTES), "little")
        if length > LARGEST_BYTES:
            raise ConnectionAbortedError(f"a message of {length} bytes; at most {LARGEST_BYTES} are read")
        return await stream.readexactly(length)
    except IncompleteReadError:
        return None
