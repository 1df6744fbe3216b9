"""Bytes on a topic to events and back: msgpack inside, JSON outside, nothing believed before it is checked.

Reading raises Undecodable (dead, with a reason) or NewerMajor (stop) and nothing else, whatever the bytes are.
Fields of newer writers survive in `Decoded.extra`. Writing raises Unencodable.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
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
from schemas.pictures import check_names, picture_event
from schemas.shape import Misshapen, check_values
from schemas.trim import trimmed
from schemas.unknown import put_back, unknown_fields

MAX_VALUE_BYTES = 16 << 20
"""Above every topic's own limit; a value beyond it is refused before it is parsed."""
MAX_OBSERVED_BYTES = 1023
"""Analytics are promised records under 1 KB."""

_NOT_FINITE = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]")
"""How msgpack writes a double that is NaN or infinite. Found elsewhere (in a picture) it costs a look, no more."""

SMALL_PICTURE_BYTES = 2048
"""Looking for `_NOT_FINITE` in a larger picture takes longer than writing the event once more without it."""

_E = TypeVar("_E", bound=Event)
_read_msgpack = msgspec.msgpack.Decoder()
_read_json = msgspec.json.Decoder()
_read_msgpack_frame = msgspec.msgpack.Decoder(FrameEvent)
_read_json_frame = msgspec.json.Decoder(FrameEvent)
_write_msgpack = msgspec.msgpack.Encoder()
_write_json = msgspec.json.Encoder()


class Decoded(Struct, frozen=True, kw_only=True):
    """`extra` is for `encode_frame`; `picture` is a plain picture's content, of which no blob exists yet."""

    event: FrameEvent
    extra: dict[str, Any]
    picture: bytes | None = None


def decode_frame(value: bytes | None, headers: Mapping[str, bytes], *, appended_seconds: float = 0.0) -> Decoded:
    """Read a record of any frame topic; `appended_seconds` (the record's timestamp) is when a plain picture came in.

    Raises Undecodable, NewerMajor.
    """
    content = _checked_size(value)
    cloudevents.check_version(headers)
    content_type = cloudevents.content_type(headers)
    if content_type is not None and content_type.startswith("image/"):
        return Decoded(event=picture_event(content, headers, appended_seconds), extra={}, picture=content)
    if (event := _decode_own(content, content_type)) is not None:
        _check_frame(event)
        return Decoded(event=event, extra={})
    event, raw = _decode_any(content, content_type, FrameEvent)
    _check_frame(event)
    return Decoded(event=event, extra=unknown_fields(raw, FrameEvent))


def encode_frame(
    event: FrameEvent, *, extra: Mapping[str, Any] | None = None, as_json: bool = False, with_embeddings: bool = True
) -> bytes:
    """Write an event: msgpack for internal topics, JSON (never with inline bytes) for everybody else's.

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
        put_back(plain, extra or {}, FrameEvent)
        check_values(plain)
    except Misshapen as wrong:
        raise Unencodable(wrong.reason, str(wrong)) from wrong
    except (TypeError, ValueError, OverflowError) as wrong:
        raise Unencodable("wrong_type", str(wrong)) from wrong
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
    """Raises Undecodable, NewerMajor."""
    return _decode(value, headers, DeadLetter)


def encode_observed(observed: Observed) -> bytes:
    """JSON under 1 KB: rare labels are summed under `other`, a long reason is cut. Raises Unencodable."""
    try:
        check_values((observed.luminance or 0.0, observed.difference or 0.0))
    except Misshapen as wrong:
        raise Unencodable(wrong.reason, str(wrong)) from wrong
    return trimmed(observed, MAX_OBSERVED_BYTES)


def decode_observed(value: bytes | None, headers: Mapping[str, bytes]) -> Observed:
    """Raises Undecodable, NewerMajor."""
    return _decode(value, headers, Observed)


def encode_deletion(deletion: Deletion) -> bytes:
    return _write_msgpack.encode(deletion)


def decode_deletion(value: bytes | None, headers: Mapping[str, bytes]) -> Deletion:
    """Raises Undecodable, NewerMajor."""
    return _decode(value, headers, Deletion)


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


def _decode(value: bytes | None, headers: Mapping[str, bytes], event_type: type[_E]) -> _E:
    content = _checked_size(value)
    cloudevents.check_version(headers)
    return _decode_any(content, cloudevents.content_type(headers), event_type)[0]


def _decode_own(content: bytes, content_type: str | None) -> FrameEvent | None:
    """The event, if these are exactly the bytes we would write for it: then only `results` may hold strange things.

    A fifth of the price of looking at every value; None says nothing but that one has to look.
    """
    as_json = _is_json(content, content_type)
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
    """Whether no number is NaN or infinite; False says nothing but that one has to look at every value."""
    inline = event.image.inline
    if inline is not None and len(inline) > SMALL_PICTURE_BYTES:
        encoded = _write_msgpack.encode(replace(event, image=replace(event.image, inline=None)))
    return _NOT_FINITE.search(encoded) is None


def _decode_any(content: bytes, content_type: str | None, event_type: type[_E]) -> tuple[_E, dict[str, Any]]:
    """The event, and the same as plain values with all that `event_type` does not know."""
    raw = _read_plain(content, content_type)
    try:
        check_values(raw)
        if type(raw) is not dict:
            raise Undecodable("wrong_type", f"the value is a {type(raw).__name__}, not a mapping")
        version = raw.get("version", MAJOR_VERSION)
        if type(version) is int and version > MAJOR_VERSION:
            raise NewerMajor(version)
        return msgspec.convert(raw, event_type), raw
    except Misshapen as wrong:
        raise Undecodable(wrong.reason, str(wrong)) from wrong
    except (msgspec.ValidationError, OverflowError) as wrong:
        raise Undecodable("wrong_type", str(wrong)) from wrong


def _checked_size(value: bytes | None) -> bytes:
    if not value:
        raise Undecodable("empty", "the record has no value")
    if len(value) > MAX_VALUE_BYTES:
        raise Undecodable("too_large", f"the value has {len(value)} bytes, at most {MAX_VALUE_BYTES} are read")
    return value


def _is_json(content: bytes, content_type: str | None) -> bool:
    """Without a content type the first byte tells: no msgpack map begins with `{`. Raises Undecodable."""
    return _says_json(content_type) if content_type else content[:1] == b"{"


@lru_cache(maxsize=64)
def _says_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip()
    if kind not in (cloudevents.MSGPACK, cloudevents.JSON):
        raise Undecodable("unknown_content_type", "content-type is none of msgpack, JSON and image/*")
    return kind == cloudevents.JSON


def _read_plain(content: bytes, content_type: str | None) -> Any:
    reader = _read_json if _is_json(content, content_type) else _read_msgpack
    try:
        return reader.decode(content)
    except RecursionError:
        raise Undecodable("too_deep", "the value is nested too deeply to be parsed") from None
    except (msgspec.DecodeError, ValueError, OverflowError, MemoryError) as wrong:
        raise Undecodable("malformed", str(wrong)) from wrong


def _check_frame(event: FrameEvent) -> None:
    check_names(event.tenant, event.feed)
    if event.id != frame_id(event.tenant, event.feed, event.position):
        raise Undecodable("wrong_id", "the id is not the one made of tenant, feed and position")
    try:
        _check_contents(event)
    except Misshapen as wrong:
        raise Undecodable(wrong.reason, str(wrong)) from wrong


def _check_contents(event: FrameEvent) -> None:
    """What types cannot say: vectors hold finite numbers, results fit the schemas registered for them."""
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
