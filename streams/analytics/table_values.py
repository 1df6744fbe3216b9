"""What analytics remembers: a table of small values, each of which is whole by itself.

A window's counts are spread over *slices*. A slice holds the counts of at most `SLICE_EVENTS` events together with
their ids, in one value, so counts and what was counted cannot come apart in a crash, and no value grows with a
feed's rate. When the window closes its slices become one value without ids.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import msgspec
from msgspec import Struct

SLICE_EVENTS = 256
ID_BYTES = 8
"""Of a window's few thousand events two share so much of a hash once in 10¹²."""
_SEPARATOR = b"|"


class Counts(Struct, omit_defaults=True):
    """Sums over events. `labels` are detections, `reasons` those of dead letters."""

    frames: int = 0
    """Enriched ones."""
    dead: int = 0
    shed: int = 0
    labels: dict[str, int] = {}
    reasons: dict[str, int] = {}

    def add(self, other: Counts) -> None:
        self.frames += other.frames
        self.dead += other.dead
        self.shed += other.shed
        _add(self.labels, other.labels)
        _add(self.reasons, other.reasons)


class Slice(Struct, omit_defaults=True):
    """`ids` are `ID_BYTES` of each event counted here."""

    counts: Counts
    ids: bytes = b""

    @property
    def is_full(self) -> bool:
        return len(self.ids) >= SLICE_EVENTS * ID_BYTES

    def knows(self, identity: bytes) -> bool:
        at = self.ids.find(identity)
        while at % ID_BYTES and at > 0:
            at = self.ids.find(identity, at + 1)
        return at >= 0


class Feed(Struct, omit_defaults=True):
    """One feed: its windows (starts, Unix seconds) and its last picture. Times are of publishing."""

    newest: float = 0.0
    open: list[int] = []
    closed: list[int] = []
    late: int = 0
    """Events that came after their window had closed; counted again if they come again."""
    luminance: float | None = None
    difference: float | None = None
    dark_since: float | None = None
    frozen_since: float | None = None


_encode = msgspec.msgpack.Encoder().encode
_read_feed = msgspec.msgpack.Decoder(Feed).decode
_read_slice = msgspec.msgpack.Decoder(Slice).decode
_read_counts = msgspec.msgpack.Decoder(Counts).decode


def feed_key(tenant: str, feed: str) -> bytes:
    return f"{tenant}/{feed}".encode()


def is_feed(key: bytes) -> bool:
    return _SEPARATOR not in key


def window_key(feed: bytes, start: int) -> bytes:
    """Of a closed window's counts."""
    return b"%s|%d" % (feed, start)


def slice_key(feed: bytes, start: int, number: int) -> bytes:
    return b"%s|%d|%d" % (feed, start, number)


def identity(ce_id: str) -> bytes:
    return blake2b(ce_id.encode(), digest_size=ID_BYTES).digest()


def encode(value: Feed | Slice | Counts) -> bytes:
    return _encode(value)


def read_feed(value: bytes | None) -> Feed:
    return Feed() if value is None else _read_feed(value)


def read_slice(value: bytes) -> Slice:
    return _read_slice(value)


def read_counts(value: bytes) -> Counts:
    return _read_counts(value)


def total(parts: Iterable[Counts]) -> Counts:
    found = Counts()
    for part in parts:
        found.add(part)
    return found


def _add(into: dict[str, int], other: dict[str, int]) -> None:
    for name, count in other.items():
        into[name] = into.get(name, 0) + count
