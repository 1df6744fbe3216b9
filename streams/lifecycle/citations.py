"""What a record on a frame topic says of its frame: id, feed, times, and the blobs that it cites."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

import msgspec
from msgspec import Struct

from schemas import cloudevents, codec, topics
from schemas.errors import SchemaError
from schemas.events import DeadLetter, FrameEvent
from stores.blobs import blob_uri
from streams.lifecycle.dead_letters import CLOSES_HEADER
from streams.transport import Partition, Record

Place: TypeAlias = tuple[Partition, int]
"""Partition and offset of a record."""


@dataclass(frozen=True, slots=True)
class Citation:
    """One record about a frame."""

    frame: str
    feed: tuple[str, str]
    """Tenant and feed."""
    uris: frozenset[str]
    """Blobs: the original and the thumbnail, as far as the record names them."""
    place: Place
    """Where the record is."""
    when: datetime
    """When the frame was captured, ingested or dead-lettered: the first of these that is known."""
    sha256: str = ""
    """Of the original; empty: unknown."""
    letter: DeadLetter | None = None
    """Where the record is a dead letter."""


class _Image(Struct):
    uri: str = ""
    thumbnail: str = ""


class _Glance(Struct):
    """The part of a frame's event that says whose it is and which blobs it cites; the rest is skipped."""

    id: str
    image: _Image


_glances = {
    cloudevents.MSGPACK.encode(): msgspec.msgpack.Decoder(_Glance).decode,
    cloudevents.JSON.encode(): msgspec.json.Decoder(_Glance).decode,
}


def may_concern(record: Record, frames: Container[str], uris: Container[str]) -> bool:
    """Whether the record may be about one of the frames or cite one of the blobs, at a fraction of `citation_of`.

    False is certain. True means only that `citation_of` can tell.
    """
    glance = _glances.get(record.headers.get("content-type", b""))
    if glance is None or record.value is None or record.partition.topic == topics.DEAD:
        return True
    try:
        event = glance(record.value)
    except (msgspec.DecodeError, RecursionError, ValueError, OverflowError, MemoryError):
        return True
    image = event.image
    return event.id in frames or not image.uri or image.uri in uris or image.thumbnail in uris


def citation_of(record: Record) -> Citation | None:
    """None for a record that says nothing of a frame."""
    try:
        if record.partition.topic != topics.DEAD:
            event = codec.decode_frame(record.value, record.headers, appended_seconds=record.timestamp).event
            return _of_event(event, record)
        if CLOSES_HEADER in record.headers:
            return None
        return _of_letter(codec.decode_dead(record.value, record.headers), record)
    except SchemaError:
        return None


def _of_event(event: FrameEvent, record: Record) -> Citation:
    image = event.image
    uri = image.uri or blob_uri(event.tenant, event.feed, event.ingested.date(), image.sha256)
    return Citation(
        event.id,
        (event.tenant, event.feed),
        frozenset({uri, image.thumbnail} - {""}),
        (record.partition, record.offset),
        event.captured or event.ingested,
        image.sha256,
    )


def _of_letter(letter: DeadLetter, record: Record) -> Citation:
    uris, sha256 = frozenset({letter.uri} - {""}), letter.uri.rpartition("/")[2]
    place, feed = (record.partition, record.offset), (letter.tenant, letter.feed)
    return Citation(letter.id, feed, uris, place, letter.died, sha256, letter)


def is_original(record: Record, letter: DeadLetter) -> bool:
    """Whether it is the record that died: on a log that was replaced, another one may have its offset."""
    at_its_place = record.offset == letter.offset and record.partition == Partition(letter.topic, letter.partition)
    return at_its_place and record.key == letter.key and record.value == letter.value
