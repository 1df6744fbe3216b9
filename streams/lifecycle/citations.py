"""What a record on a frame topic says of its frame: id, feed, times, and the blobs that it cites."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from schemas import codec, topics
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
