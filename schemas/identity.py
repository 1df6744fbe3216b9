"""Deterministic names: the same picture at the same position of the same feed always has the same id.

Ids are UUIDv5 (RFC 9562) over lines that no part can forge, because parts are length-prefixed.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from hashlib import sha1
from uuid import UUID

from schemas.events import Box

NAMESPACE = UUID("6f1c1f0e-6d0b-5c39-9d0e-5a1b6c1d7e20")
"""Sightline's own namespace: ids of other systems never collide with these."""

DEFAULT_TENANT = "default"
NAME_CHARACTERS = 63
_TENANT = re.compile(r"[a-z0-9][a-z0-9._-]*")
_PUNCTUATION = frozenset("._-")
_UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
"""Letters and marks that show nothing: names that differ in them alone look the same."""


def check_name(kind: str, name: str) -> str:
    """Return the `name` of a "tenant" or "feed", or raise ValueError naming the `kind` and what is allowed.

    Names are part of keys, payloads, paths, URLs and metric labels: no slash, so `tenant/feed` splits, and no white
    space. A feed's letters may be of any script, in lower case and Unicode's form NFC.
    """
    allowed = "a-z, 0-9" if kind == "tenant" else "lower-case letters of any script, digits"
    valid = _TENANT.fullmatch(name) is not None if kind == "tenant" else _is_feed(name)
    if not valid or len(name) > NAME_CHARACTERS or ".." in name:
        raise ValueError(
            f"{kind} {name!r}: use 1 to {NAME_CHARACTERS} of {allowed}, '.', '_', '-', starting with a letter or digit"
        )
    return name


@lru_cache(maxsize=4096)
def _is_feed(name: str) -> bool:
    return name[:1].isalnum() and all(map(in_feed_name, name)) and name == folded(name)


def in_feed_name(character: str) -> bool:
    """Whether the name of a feed may have this character: a letter, mark or digit of any script, or punctuation."""
    if character.isascii():
        return character.isalnum() or character in _PUNCTUATION
    return unicodedata.category(character)[0] in "LMN" and _UNSEEN.match(character) is None


def folded(name: str) -> str:
    """`name` in lower case and in Unicode's form NFC, in which equal names have equal characters."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).lower())


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


_STILL = re.compile(r"still:[0-9a-f]{64}:(.+)", re.DOTALL)
_OBJECT = re.compile(r"object:.*?:([A-Za-z][A-Za-z0-9]*://.+)", re.DOTALL)
_PRODUCED = re.compile(r"ce:(\d{1,4}):(.+)", re.DOTALL)


def place_in(position: str) -> str:
    """Path, URL or `ce_source` and `ce_id` that a position names; empty if it names none, as a video's."""
    if (named := _STILL.fullmatch(position) or _OBJECT.fullmatch(position)) is not None:
        return named[1]
    if (produced := _PRODUCED.fullmatch(position)) is not None:
        characters, rest = int(produced[1]), produced[2]
        return f"{rest[:characters]} {rest[characters + 1 :]}"
    return ""


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
