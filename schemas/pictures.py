"""Plain pictures: the first bytes decide their format; names and content types do not."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from unicodedata import normalize
from urllib.parse import unquote

from schemas import cloudevents
from schemas.errors import Undecodable
from schemas.events import Format as Format
from schemas.events import FrameEvent, ImageRef, Kind
from schemas.identity import DEFAULT_TENANT, check_name, frame_id, produced_position
from schemas.times import appended

FORMATS = "JPEG, PNG, WebP, GIF, HEIC or AVIF"
"""The formats that are read, for messages."""
MEDIA_TYPES = MappingProxyType[Format, str](
    {
        "jpeg": "image/jpeg",
        "png": "image/png",
        "webp": "image/webp",
        "gif": "image/gif",
        "heic": "image/heic",
        "heif": "image/heif",
        "avif": "image/avif",
    }
)
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".heic", ".heif", ".hif", ".avif")
"""How the names of pictures end, where nothing but a name is known."""
SIGNATURE_BYTES = 64
"""`picture_format` looks at no more."""
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIF_BRANDS = frozenset({b"mif1", b"mif2", b"msf1"})
"""Brands of ISO/IEC 23008-12 that do not name the codec; one of the compatible brands does."""


def picture_format(content: bytes | memoryview) -> Format | None:
    """The format by signature (JFIF/EXIF SOI, PNG, RIFF WEBP, GIF with a size, the brands of a HEIF), or None."""
    head = bytes(content[:SIGNATURE_BYTES])
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    if head[:6] in (b"GIF87a", b"GIF89a") and any(head[6:8]) and any(head[8:10]):
        return "gif"
    return _heif_format(head) if head[4:8] == b"ftyp" else None


def _heif_format(head: bytes) -> Format | None:
    """By the major brand of a file that begins with `ftyp`, as videos do too."""
    major = head[8:12]
    if major in _HEIF_BRANDS:
        end = min(int.from_bytes(head[:4], "big"), len(head))
        brands = {head[start : start + 4] for start in range(16, end, 4)}
        return "heic" if brands & _HEIC_BRANDS else "avif" if brands & _AVIF_BRANDS else "heif"
    return "heic" if major in _HEIC_BRANDS else "avif" if major in _AVIF_BRANDS else None


def picture_event(content: bytes, headers: Mapping[str, bytes], appended_seconds: float) -> FrameEvent:
    """The event of a plain picture that another producer put on `frames.raw`.

    `ce_source` and `ce_id` are its position, the last path segment of `ce_source` is its feed, `ce_time` when it was
    captured; `ce_kind` and `ce_tenant` default to `still` and `default`. `appended_seconds` is the record's
    timestamp. `image.uri` is empty: no blob exists yet. Raises Undecodable.
    """
    source, identity = cloudevents.required(headers, "ce_source"), cloudevents.required(headers, "ce_id")
    tenant = cloudevents.text(headers, "ce_tenant") or DEFAULT_TENANT
    feed = feed_of_source(source)
    check_names(tenant, feed)
    image_format = picture_format(content)
    if image_format is None:
        raise Undecodable("not_a_picture", f"the value is no {FORMATS}")
    position = produced_position(source, identity)
    return FrameEvent(
        id=frame_id(tenant, feed, position),
        tenant=tenant,
        feed=feed,
        kind=_kind(cloudevents.text(headers, "ce_kind")),
        position=position,
        ingested=appended(appended_seconds),
        captured=cloudevents.time(headers),
        image=ImageRef(format=image_format, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content)),
    )


def feed_of_source(ce_source: str) -> str:
    """The last path segment of `ce_source`; percent-encoding is undone, as other scripts than ASCII's have it."""
    segment = ce_source.rstrip("/").rpartition("/")[2]
    return segment if segment.isascii() and "%" not in segment else normalize("NFC", unquote(segment))


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
