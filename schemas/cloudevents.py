"""CloudEvents 1.0 in Kafka's binary mode: attributes are record headers `ce_…`, the value is the event itself.

See the CloudEvents specification 1.0.2 and its Kafka protocol binding, section 3.2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote

import msgspec

from schemas.errors import NewerMajor, Undecodable
from schemas.events import MAJOR_VERSION, FrameEvent, Utc
from schemas.identity import event_id

MSGPACK = "application/msgpack"
JSON = "application/json"

RAW_TYPE = "sightline.frame.raw.v1"
SEGMENT_TYPE = "sightline.frame.segment.v1"
"""An event between two segments."""
ENRICHED_TYPE = "sightline.frame.enriched.v1"
DEAD_TYPE = "sightline.frame.dead.v1"
OBSERVED_TYPE = "sightline.frame.observed.v1"
DELETION_TYPE = "sightline.deletion.v1"
KEPT_TYPE = "sightline.kept.v1"
TRIMMED_TYPE = "sightline.trimmed.v1"
ACCEPTED_TYPE = "sightline.source.accepted.v1"
FEED_TYPE = "sightline.feed.v1"
_OWN_TYPES = (
    SEGMENT_TYPE,
    ENRICHED_TYPE,
    DEAD_TYPE,
    OBSERVED_TYPE,
    DELETION_TYPE,
    KEPT_TYPE,
    TRIMMED_TYPE,
    ACCEPTED_TYPE,
    FEED_TYPE,
)
"""Written by Sightline alone. Any producer may write RAW_TYPE."""

_write_json = msgspec.json.Encoder()
_TYPE = re.compile(rb"(sightline\.[a-z.]+\.v)(\d{1,9})")
_RAW_PREFIX = RAW_TYPE.removesuffix(str(MAJOR_VERSION)).encode()
_OWN_PREFIXES = frozenset(name.removesuffix(str(MAJOR_VERSION)).encode() for name in _OWN_TYPES)
_MAX_HEADER_BYTES = 2048
"""A position is made of `ce_source` and `ce_id`, and is part of every later event."""


def headers(
    event_type: str,
    *,
    tenant: str,
    feed: str,
    frame: str,
    time: datetime,
    model_set: str = "",
    content_type: str = MSGPACK,
) -> dict[str, bytes]:
    """Headers of one of our own records about `frame` (an id). `ce_id` is the same when the event is written again."""
    kind, source, content = _encoded(event_type, tenant, feed, content_type)
    return {
        "ce_specversion": b"1.0",
        "ce_type": kind,
        "ce_source": source,
        "ce_id": event_id(frame, event_type, model_set).encode(),
        "ce_time": _rfc3339(time),
        "ce_subject": frame.encode(),
        "content-type": content,
    }


@lru_cache(maxsize=4096)
def _encoded(event_type: str, tenant: str, feed: str, content_type: str) -> tuple[bytes, bytes, bytes]:
    """The header values that a feed's records of one type share."""
    return event_type.encode(), f"/{tenant}/{quote(feed)}".encode(), content_type.encode()


def frame_headers(event: FrameEvent, event_type: str, *, content_type: str = MSGPACK) -> dict[str, bytes]:
    """Headers of `event`; `ce_time` is when it was published, else ingested."""
    return headers(
        event_type,
        tenant=event.tenant,
        feed=event.feed,
        frame=event.id,
        time=event.published or event.ingested,
        model_set=event.model_set,
        content_type=content_type,
    )


def text(headers: Mapping[str, bytes], name: str) -> str | None:
    """A header as text, or None if absent or empty. Raises Undecodable if it is no UTF-8, too long or not printable."""
    value = headers.get(name)
    if not value:
        return None
    if len(value) > _MAX_HEADER_BYTES:
        raise Undecodable("wrong_header", f"header {name} has {len(value)} bytes, at most {_MAX_HEADER_BYTES} are read")
    try:
        decoded = value.decode()
    except UnicodeDecodeError:
        raise Undecodable("wrong_header", f"header {name} is not UTF-8") from None
    if not decoded.isprintable():
        raise Undecodable("wrong_header", f"header {name} holds characters that cannot be printed")
    return decoded


def required(headers: Mapping[str, bytes], name: str) -> str:
    """A header as `text`. Raises Undecodable if it is absent or empty, too."""
    value = text(headers, name)
    if value is None:
        raise Undecodable("missing_header", f"the record has no header {name}")
    return value


def time(headers: Mapping[str, bytes], name: str = "ce_time") -> datetime | None:
    """A header that holds an RFC 3339 time with its zone, in UTC, or None if absent or empty. Raises Undecodable."""
    value = text(headers, name)
    if value is None:
        return None
    try:
        return msgspec.convert(value, Utc).astimezone(UTC)
    except OverflowError:
        raise Undecodable("wrong_header", f"header {name} is not within the years 1 to 9999 of UTC") from None
    except msgspec.ValidationError:
        raise Undecodable("wrong_header", f"header {name} is no RFC 3339 time with a zone") from None


def check_version(headers: Mapping[str, bytes]) -> None:
    """Raise NewerMajor for a newer `ce_type` of ours, Undecodable for other CloudEvents versions or types."""
    _check_version(headers.get("ce_specversion"), headers.get("ce_type"))


@lru_cache(maxsize=64)
def _check_version(spec: bytes | None, event_type: bytes | None) -> None:
    if spec and not required({"ce_specversion": spec}, "ce_specversion").startswith("1."):
        raise Undecodable("wrong_header", "header ce_specversion is not 1.0")
    if event_type and (major := _major(event_type)) > MAJOR_VERSION:
        raise NewerMajor(major)


def written_by_sightline(headers: Mapping[str, bytes]) -> bool:
    """Whether a record of a newer version is a newer Sightline's: of a type that no one else writes, or its source's.

    Sightline's sources write whole events in msgpack; what others write on `frames.raw` must never stop a worker.
    """
    match = _TYPE.fullmatch(headers.get("ce_type") or b"")
    if match is None:
        return False
    content = media_type(headers) or ""
    if match.group(1) == _RAW_PREFIX:
        return content == MSGPACK
    return match.group(1) in _OWN_PREFIXES and not content.startswith("image/")


def media_type(headers: Mapping[str, bytes]) -> str | None:
    """The header `content-type` in lower case, without parameters; None if absent or empty. Raises Undecodable."""
    return _media_type(headers.get("content-type") or b"")


@lru_cache(maxsize=64)
def _media_type(value: bytes) -> str | None:
    content_type = text({"content-type": value}, "content-type")
    return None if content_type is None else content_type.partition(";")[0].strip().lower() or None


def _major(event_type: bytes) -> int:
    match = _TYPE.fullmatch(event_type)
    if match is None:
        raise Undecodable("wrong_header", "header ce_type is not one of Sightline's types")
    return int(match.group(2))


def _rfc3339(moment: datetime) -> bytes:
    """In UTC, with a Z, and with microseconds unless they are zero."""
    quoted = _write_json.encode(moment if moment.tzinfo is UTC else moment.astimezone(UTC))
    return quoted[1:-1]
