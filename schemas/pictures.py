"""Plain pictures: the first bytes decide their format; names and content types do not."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal

from schemas import cloudevents
from schemas.errors import Undecodable
from schemas.events import FrameEvent, ImageRef, Kind
from schemas.identity import DEFAULT_TENANT, check_name, frame_id, produced_position

Format = Literal["jpeg", "png", "webp"]


def picture_format(content: bytes | memoryview) -> Format | None:
    """The format by signature (JFIF/EXIF SOI, PNG, RIFF WEBP), or None."""
    head = bytes(content[:12])
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    return None


def picture_event(content: bytes, headers: Mapping[str, bytes], appended_seconds: float) -> FrameEvent:
    """The event of a plain picture that another producer put on `frames.raw`.

    `ce_source` and `ce_id` are its position, the last path segment of `ce_source` is its feed, `ce_time` when it was
    captured; `ce_kind` and `ce_tenant` default to `still` and `default`. `appended_seconds` is the record's
    timestamp. `image.uri` is empty: no blob exists yet. Raises Undecodable.
    """
    source, identity = cloudevents.required(headers, "ce_source"), cloudevents.required(headers, "ce_id")
    tenant = cloudevents.text(headers, "ce_tenant") or DEFAULT_TENANT
    feed = source.rstrip("/").rpartition("/")[2]
    check_names(tenant, feed)
    image_format = picture_format(content)
    if image_format is None:
        raise Undecodable("not_a_picture", "the value is no JPEG, PNG or WebP")
    position = produced_position(source, identity)
    return FrameEvent(
        id=frame_id(tenant, feed, position),
        tenant=tenant,
        feed=feed,
        kind=_kind(cloudevents.text(headers, "ce_kind")),
        position=position,
        ingested=datetime.fromtimestamp(appended_seconds, UTC),
        captured=cloudevents.time(headers),
        image=ImageRef(format=image_format, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content)),
    )


@lru_cache(maxsize=4096)
def check_names(tenant: str, feed: str) -> None:
    """Raise Undecodable for names that are not allowed: they become part of paths, keys and metric labels."""
    try:
        check_name("tenant", tenant)
        check_name("feed", feed)
    except ValueError as error:
        raise Undecodable("wrong_name", str(error)) from error


def _kind(header: str | None) -> Kind:
    if header is None or header == "still":
        return "still"
    if header == "frame":
        return "frame"
    raise Undecodable("wrong_header", "header ce_kind is neither still nor frame")
