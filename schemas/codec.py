"""Bytes on a topic to events and back: msgpack on internal topics, JSON on public ones; all input is checked.

Reading raises Undecodable (dead, with a reason) or NewerMajor (stop) and nothing else, for any bytes. Fields of newer
writers are kept in `Decoded.extra`. Writing raises Unencodable.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

import msgspec
import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from schemas import cloudevents, results
from schemas.errors import NewerMajor, Undecodable, Unencodable
from schemas.events import (
    MAJOR_VERSION,
    Accepted,
    DeadLetter,
    Deletion,
    Embedding,
    Event,
    Feed,
    FrameEvent,
    Observed,
)
from schemas.identity import frame_id
from schemas.pictures import check_names, picture_event, picture_format
from schemas.retention import Kept, Trimmed
from schemas.shape import Misshapen, check_values
from schemas.times import in_utc
from schemas.trim import trimmed
from schemas.unknown import restore_unknown, unknown_fields

MAX_VALUE_BYTES = 16 << 20
"""Above every topic's own limit; a larger value is refused before it is parsed."""
MAX_OBSERVED_BYTES = 1023
"""The contract with analytics: records under 1 KB."""

_NOT_FINITE = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]")
"""How msgpack writes a double that is NaN or infinite. Other bytes that match, in a picture, cost a full check."""

SMALL_PICTURE_BYTES = 2048
"""A search for `_NOT_FINITE` in a larger picture takes longer than encoding the event again without it."""

_E = TypeVar("_E", bound=Event)
_read_msgpack = msgspec.msgpack.Decoder()
_read_json = msgspec.json.Decoder()
_read_msgpack_frame = msgspec.msgpack.Decoder(FrameEvent)
_read_json_frame = msgspec.json.Decoder(FrameEvent)
_read_deletion = msgspec.msgpack.Decoder(Deletion)
_write_msgpack = msgspec.msgpack.Encoder()
_write_json = msgspec.json.Encoder()


class Decoded(Struct, frozen=True, kw_only=True):
    """`extra` is for `encode_frame`; `picture` is a plain picture's content, for which no blob exists yet."""

    event: FrameEvent
    extra: dict[str, Any]
    picture: bytes | None = None


def decode_frame(value: bytes | None, headers: Mapping[str, bytes], *, appended_seconds: float = 0.0) -> Decoded:
    """Decode a record of any frame topic; `appended_seconds`, the record's timestamp, is a plain picture's `ingested`.

    Raises Undecodable, NewerMajor.
    """
    with _newer_version(headers):
        content = _checked_size(value)
        cloudevents.check_version(headers)
        media_type = cloudevents.media_type(headers)
        if media_type is not None and media_type.startswith("image/"):
            return Decoded(event=picture_event(content, headers, appended_seconds), extra={}, picture=content)
        if media_type is None and picture_format(content) is not None:
            raise Undecodable("missing_header", "the value is a picture, and the record has no header content-type")
        if (event := _decode_own(content, media_type)) is not None:
            _check_frame(event)
            return Decoded(event=in_utc(event), extra={})
        event, raw = _decode_any(content, media_type, FrameEvent)
        _check_frame(event)
        return Decoded(event=in_utc(event), extra=unknown_fields(raw, FrameEvent))


@contextmanager
def _newer_version(headers: Mapping[str, bytes]) -> Iterator[None]:
    """A newer version raises NewerMajor only where a newer Sightline wrote the record, else Undecodable."""
    try:
        yield
    except NewerMajor as error:
        if cloudevents.written_by_sightline(headers):
            raise
        message = f"the record has version {error.version}, this Sightline reads version {MAJOR_VERSION}"
        raise Undecodable("unknown_version", message) from error


def encode_frame(
    event: FrameEvent, *, extra: Mapping[str, Any] | None = None, as_json: bool = False, with_embeddings: bool = True
) -> bytes:
    """Encode an event: msgpack for internal topics, JSON (never with inline bytes) for public ones.

    In JSON, bytes (vectors, masks) are base64. Raises Unencodable.
    """
    if as_json or not with_embeddings:
        event = _without(event, inline=as_json, embeddings=not with_embeddings)
    try:
        _check_contents(event)
        if event.results:
            check_values(msgspec.to_builtins(event.results, builtin_types=(bytes, datetime)))
        encoded = _write_msgpack.encode(event)
        if not extra and _is_finite(event, encoded):
            return _write_json.encode(event) if as_json else encoded
        plain = msgspec.to_builtins(event, builtin_types=(bytes, datetime))
        restore_unknown(plain, extra or {}, FrameEvent)
        check_values(plain)
    except Misshapen as error:
        raise Unencodable(error.reason, str(error)) from error
    except (TypeError, ValueError, OverflowError) as error:
        raise Unencodable("wrong_type", str(error)) from error
    return (_write_json if as_json else _write_msgpack).encode(plain)


def _without(event: FrameEvent, *, inline: bool, embeddings: bool) -> FrameEvent:
    if inline and event.image.inline is not None:
        event = replace(event, image=replace(event.image, inline=None))
    if embeddings:
        regions = tuple(replace(region, embeddings=()) for region in event.regions)
        event = replace(event, embeddings=(), regions=regions)
    return event


def encode_dead(letter: DeadLetter) -> bytes:
    return _write_msgpack.encode(letter)


def decode_dead(value: bytes | None, headers: Mapping[str, bytes]) -> DeadLetter:
    """A header without a value, as Kafka has them, is an empty one. Raises Undecodable, NewerMajor."""
    return _decode(value, headers, DeadLetter, _without_null_headers)


def encode_observed(observed: Observed) -> bytes:
    """JSON under 1 KB: rare labels are summed under `other`, a long reason is truncated. Raises Unencodable."""
    try:
        check_values((observed.luminance or 0.0, observed.difference or 0.0))
    except Misshapen as error:
        raise Unencodable(error.reason, str(error)) from error
    return trimmed(observed, MAX_OBSERVED_BYTES)


def decode_observed(value: bytes | None, headers: Mapping[str, bytes]) -> Observed:
    """Raises Undecodable, NewerMajor."""
    return _decode(value, headers, Observed)


def encode_deletion(deletion: Deletion) -> bytes:
    return _write_msgpack.encode(deletion)


def decode_deletion(value: bytes | None, headers: Mapping[str, bytes]) -> Deletion:
    """Raises Undecodable, NewerMajor."""
    return _own_deletion(value, headers) or _decode(value, headers, Deletion)


def _own_deletion(value: bytes | None, headers: Mapping[str, bytes]) -> Deletion | None:
    """The deletion, if `value` is exactly the encoding of it: text and times alone, which need no further check."""
    try:
        cloudevents.check_version(headers)
        if value is None or cloudevents.media_type(headers) != cloudevents.MSGPACK:
            return None
        deletion = _read_deletion.decode(value)
    except (Undecodable, NewerMajor, msgspec.DecodeError, RecursionError, ValueError, OverflowError, MemoryError):
        return None
    is_own = deletion.version == MAJOR_VERSION and _write_msgpack.encode(deletion) == value
    return in_utc(deletion) if is_own and len(value) <= MAX_VALUE_BYTES else None


def encode_kept(kept: Kept) -> bytes:
    return _write_msgpack.encode(kept)


def decode_kept(value: bytes | None, headers: Mapping[str, bytes]) -> Kept:
    """Raises Undecodable, NewerMajor."""
    return _decode(value, headers, Kept)


def encode_trimmed(event: Trimmed) -> bytes:
    return _write_msgpack.encode(event)


def decode_trimmed(value: bytes | None, headers: Mapping[str, bytes]) -> Trimmed:
    """Raises Undecodable, NewerMajor."""
    return _decode(value, headers, Trimmed)


def encode_accepted(accepted: Accepted) -> bytes:
    return _write_msgpack.encode(accepted)


def decode_accepted(value: bytes | None, headers: Mapping[str, bytes]) -> Accepted:
    """Raises Undecodable, NewerMajor."""
    accepted = _decode(value, headers, Accepted)
    if len(accepted.frames) % 16:
        raise Undecodable("wrong_type", f"frames has {len(accepted.frames)} bytes, which is no multiple of 16")
    return accepted


def encode_feed(feed: Feed) -> bytes:
    return _write_msgpack.encode(feed)


def decode_feed(value: bytes | None, headers: Mapping[str, bytes]) -> Feed:
    """Raises Undecodable, NewerMajor."""
    return _decode(value, headers, Feed)


def _decode(
    value: bytes | None,
    headers: Mapping[str, bytes],
    event_type: type[_E],
    amend: Callable[[dict[Any, Any]], None] = lambda _: None,
) -> _E:
    """`amend` may change the plain values before they are checked."""
    with _newer_version(headers):
        content = _checked_size(value)
        cloudevents.check_version(headers)
        return in_utc(_decode_any(content, cloudevents.media_type(headers), event_type, amend)[0])


def _without_null_headers(letter: dict[Any, Any]) -> None:
    if isinstance(headers := letter.get("headers"), dict):
        letter["headers"] = {name: b"" if value is None else value for name, value in headers.items()}


def _decode_own(content: bytes, media_type: str | None) -> FrameEvent | None:
    """The event, if `content` is exactly the encoding of it; then only `results` can hold values outside the contract.

    This costs a fifth of a check of every value. None means only that such a check is needed.
    """
    as_json = _is_json(content, media_type)
    try:
        event = (_read_json_frame if as_json else _read_msgpack_frame).decode(content)
        if event.results:
            check_values(event.results)
    except (msgspec.DecodeError, RecursionError, ValueError, OverflowError, MemoryError):
        return None
    if event.version != MAJOR_VERSION:
        return None
    if as_json:
        return event if _write_json.encode(event) == content else None
    return event if _write_msgpack.encode(event) == content and _is_finite(event, content) else None


def _is_finite(event: FrameEvent, encoded: bytes) -> bool:
    """Whether no number is NaN or infinite; False means only that a check of every value is needed."""
    inline = event.image.inline
    if inline is not None and len(inline) > SMALL_PICTURE_BYTES:
        encoded = _write_msgpack.encode(replace(event, image=replace(event.image, inline=None)))
    return _NOT_FINITE.search(encoded) is None


def _decode_any(
    content: bytes,
    media_type: str | None,
    event_type: type[_E],
    amend: Callable[[dict[Any, Any]], None] = lambda _: None,
) -> tuple[_E, dict[str, Any]]:
    """The event, and its content as plain values, with fields that `event_type` does not have."""
    raw = _read_plain(content, media_type)
    try:
        check_values(raw)
        if type(raw) is not dict:
            raise Undecodable("wrong_type", f"the value is a {type(raw).__name__}, not a mapping")
        version = raw.get("version", MAJOR_VERSION)
        if type(version) is int and version > MAJOR_VERSION:
            raise NewerMajor(version)
        amend(raw)
        return msgspec.convert(raw, event_type), raw
    except Misshapen as error:
        raise Undecodable(error.reason, str(error)) from error
    except (msgspec.ValidationError, OverflowError) as error:
        raise Undecodable("wrong_type", str(error)) from error


def _checked_size(value: bytes | None) -> bytes:
    if not value:
        raise Undecodable("empty", "the record has no value")
    if len(value) > MAX_VALUE_BYTES:
        raise Undecodable("too_large", f"the value has {len(value)} bytes, at most {MAX_VALUE_BYTES} are read")
    return value


def _is_json(content: bytes, media_type: str | None) -> bool:
    """Without a content type the first byte decides: no msgpack map begins with `{`. Raises Undecodable."""
    if media_type is None:
        return content[:1] == b"{"
    if media_type not in (cloudevents.MSGPACK, cloudevents.JSON):
        raise Undecodable("unknown_content_type", "content-type is neither msgpack, JSON nor image/*")
    return media_type == cloudevents.JSON


def _read_plain(content: bytes, media_type: str | None) -> Any:
    reader = _read_json if _is_json(content, media_type) else _read_msgpack
    try:
        return reader.decode(content)
    except RecursionError:
        raise Undecodable("too_deep", "the value is nested too deeply to be parsed") from None
    except (msgspec.DecodeError, ValueError, OverflowError, MemoryError) as error:
        without = "" if media_type else "; the record has no header content-type"
        raise Undecodable("malformed", f"{error}{without}") from error


def _check_frame(event: FrameEvent) -> None:
    check_names(event.tenant, event.feed)
    if event.id != frame_id(event.tenant, event.feed, event.position):
        raise Undecodable("wrong_id", "the id is not the one made of tenant, feed and position")
    try:
        _check_contents(event)
    except Misshapen as error:
        raise Undecodable(error.reason, str(error)) from error


def _check_contents(event: FrameEvent) -> None:
    """Checks beyond types: vectors hold finite numbers, results match their registered schemas."""
    for embedding in event.embeddings:
        _check_vector(embedding)
    for region in event.regions:
        for embedding in region.embeddings:
            _check_vector(embedding)
    for stage, result in event.results.items():
        results.check(stage, result)


def _check_vector(embedding: Embedding) -> None:
    if embedding.dimension < 1 or len(embedding.vector) != 4 * embedding.dimension:
        raise Misshapen("wrong_vector", f"{embedding.name} has {len(embedding.vector)} bytes for its dimension")
    numbers = np.frombuffer(embedding.vector, dtype="<f4")
    if not np.isfinite(numbers).all():
        raise Misshapen("not_finite", f"the vector {embedding.name} holds a number that is not finite")
