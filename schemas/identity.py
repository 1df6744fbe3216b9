"""Deterministic names: the same picture at the same position of the same feed always has the same id.

Ids are UUIDv5 (RFC 9562) over lines that no part can forge, because parts are length-prefixed.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import sha1
from uuid import UUID

from schemas.events import Box

NAMESPACE = UUID("6f1c1f0e-6d0b-5c39-9d0e-5a1b6c1d7e20")
"""Sightline's own namespace: ids of other systems never collide with these."""

DEFAULT_TENANT = "default"
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
"""Tenants and feeds: they are part of keys, payloads, paths and metric labels. No slash, so `tenant/feed` splits."""


def check_name(kind: str, name: str) -> str:
    """Return `name`, or raise ValueError naming the `kind` ("feed") and what is allowed."""
    if not NAME.fullmatch(name) or ".." in name:
        raise ValueError(f"{kind} {name!r}: use 1 to 63 of a-z, 0-9, '.', '_', '-', starting with a letter or digit")
    return name


_NAMESPACE_HASH = sha1(NAMESPACE.bytes, usedforsecurity=False)
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def _uuid(kind: str, first: str, second: str, third: str, *more: str) -> str:
    """`uuid.uuid5` of the joined parts, without its objects: this runs twice for every record."""
    name = f"{len(kind)}:{kind}{len(first)}:{first}{len(second)}:{second}{len(third)}:{third}"
    if more:
        name += "".join([f"{len(part)}:{part}" for part in more])
    digest = _NAMESPACE_HASH.copy()
    digest.update(name.encode())
    text = digest.hexdigest()
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}-{text[20:32]}"


def frame_id(tenant: str, feed: str, position: str) -> str:
    """The id of the frame at `position` of its source."""
    return _uuid("frame", tenant, feed, position)


def unknown_frame_id(topic: str, partition: int, offset: int) -> str:
    """The id of the dead letter of a record that cannot be decoded."""
    return _uuid("record", topic, str(partition), str(offset))


def event_id(frame: str, event_type: str, model_set: str) -> str:
    """The CloudEvents `ce_id` of an event about `frame`."""
    return _uuid("event", frame, event_type, model_set)


def region_id(frame: str, source: str, label: str, box: Box, width: int, height: int) -> str:
    """A region's id. `box` (pixels) is rounded to 1/64 of the picture's sides, so small moves keep the id."""
    sides = (width, height, width, height)
    cells = ",".join(str(round(64 * value / side)) for value, side in zip(box, sides, strict=True))
    return _uuid("region", frame, source, label, cells)


@lru_cache(maxsize=4096)
def partition_key(tenant: str, feed: str) -> bytes:
    """The key of video frames and of every derived event: it keeps a feed in order."""
    return f"{tenant}/{feed}".encode()


def still_key(frame: str) -> bytes:
    """The key of a still on `frames.raw`: it spreads a folder of stills over all partitions."""
    return frame.encode()


def video_position(sha256: str, pts: int, lap: int) -> str:
    return f"video:{sha256}:{pts}:{lap}"


def still_position(path: str, sha256: str) -> str:
    return f"still:{sha256}:{path}"


def object_position(key: str, version: str) -> str:
    return f"object:{version}:{key}"


def live_position(session: str, pts: int) -> str:
    return f"live:{session}:{pts}"


def produced_position(ce_source: str, ce_id: str) -> str:
    return f"ce:{len(ce_source)}:{ce_source}:{ce_id}"


def murmur2(key: bytes) -> int:
    """Kafka's default key hash, 32 bits, made positive like in its partitioner (org.apache.kafka Utils.murmur2)."""
    mask = 0xFFFFFFFF
    length, m = len(key), 0x5BD1E995
    h = (0x9747B28C ^ length) & mask
    for start in range(0, length & ~3, 4):
        k = int.from_bytes(key[start : start + 4], "little") * m & mask
        k = (k ^ (k >> 24)) * m & mask
        h = (h * m & mask) ^ k
    if tail := key[length & ~3 :]:
        h = (h ^ int.from_bytes(tail, "little")) * m & mask
    h = (h ^ (h >> 13)) * m & mask
    return (h ^ (h >> 15)) & 0x7FFFFFFF


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key, as Kafka's own clients choose it."""
    return murmur2(key) % partitions
