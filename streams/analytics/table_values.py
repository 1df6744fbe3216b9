"""The state of analytics: a table of small values, each of which is consistent by itself.

The counts of a window are spread over *slices*. A slice holds the counts of at most `SLICE_EVENTS` events and their ids
in one value, so a crash cannot separate counts from ids, and no value grows with a feed's rate. When the window closes,
one value without ids replaces its slices.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import msgspec
from msgspec import Struct

SLICE_EVENTS = 256
ID_BYTES = 8
"""Of a few thousand events in a window, two share these bytes of a hash with a probability of 10⁻¹²."""
_SEPARATOR = b"|"


class Counts(Struct, omit_defaults=True):
    """Sums over events, by state: detections by label, dead letters by reason."""

    frames: int = 0
    """Enriched frames."""
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
    """`ids` holds `ID_BYTES` of each event that `counts` includes."""

    counts: Counts
    ids: bytes = b""

    @property
    def is_full(self) -> bool:
        return len(self.ids) >= SLICE_EVENTS * ID_BYTES

    def contains(self, identity: bytes) -> bool:
        offset = self.ids.find(identity)
        while offset % ID_BYTES and offset > 0:
            offset = self.ids.find(identity, offset + 1)
        return offset >= 0


class FeedState(Struct, omit_defaults=True):
    """One feed: the starts of its windows and its last picture. Times are of publishing, in Unix seconds."""

    newest: float = 0.0
    open: list[int] = []
    closed: list[int] = []
    late: int = 0
    """Events that arrived after their window had closed; counted again if delivered again."""
    luminance: float | None = None
    difference: float | None = None
    dark_since: float | None = None
    frozen_since: float | None = None


_encode = msgspec.msgpack.Encoder().encode
_read_feed = msgspec.msgpack.Decoder(FeedState).decode
_read_slice = msgspec.msgpack.Decoder(Slice).decode
_read_counts = msgspec.msgpack.Decoder(Counts).decode


def feed_key(tenant: str, feed: str) -> bytes:
    return f"{tenant}/{feed}".encode()


def is_feed(key: bytes) -> bool:
    return _SEPARATOR not in key


def window_key(feed: bytes, start: int) -> bytes:
    """The key of a closed window's counts."""
    return b"%s|%d" % (feed, start)


def slice_key(feed: bytes, start: int, number: int) -> bytes:
    return b"%s|%d|%d" % (feed, start, number)


def identity(ce_id: str) -> bytes:
    return blake2b(ce_id.encode(), digest_size=ID_BYTES).digest()


def encode(value: FeedState | Slice | Counts) -> bytes:
    return _encode(value)


def read_feed(value: bytes | None) -> FeedState:
    return FeedState() if value is None else _read_feed(value)


def read_slice(value: bytes) -> Slice:
    return _read_slice(value)


def read_counts(value: bytes) -> Counts:
    return _read_counts(value)


def total(parts: Iterable[Counts]) -> Counts:
    counts = Counts()
    for part in parts:
        counts.add(part)
    return counts


def _add(into: dict[str, int], other: dict[str, int]) -> None:
    for name, count in other.items():
        into[name] = into.get(name, 0) + count
