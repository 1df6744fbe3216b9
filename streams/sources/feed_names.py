"""The name of a feed for which a person gives none.

It follows from what is read, not from how it was typed: a local path is resolved first, so `.`, a link and the whole
path of a folder give one name. Letters of any script stay.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from schemas.identity import NAME_CHARACTERS, folded, in_feed_name
from streams.sources.live_input import live_protocol
from streams.sources.objects import is_object_url
from streams.sources.url_guard import redacted
from streams.sources.urls import is_picture_url

STANDARD_INPUT = "-"
_HASH_CHARACTERS = 8
_WITHOUT_NAME = "feed"
_JOINERS = dict.fromkeys((0x200C, 0x200D))
"""Format characters inside words of some scripts; no separators."""


def feed_name(spec: str) -> str:
    """The name that follows from a file, folder, camera or URL; always valid."""
    if spec == STANDARD_INPUT:
        return "standard-input"
    if "://" in spec and (is_object_url(spec) or is_picture_url(spec)):
        parts = urlsplit(redacted(spec))
        return slug(f"{parts.hostname or ''}{PurePosixPath(unquote(parts.path)).with_suffix('')}")
    if live_protocol(spec) is not None and not os.path.isfile(spec):  # noqa: PTH113 - raises nothing
        return slug(_camera(spec))
    return slug(_local_name(Path(spec).expanduser()))


def _local_name(path: Path) -> str:
    """The name of a file or folder; of a glob, the last part without wildcards."""
    plain_parts = [part for part in path.parts if not any(character in part for character in "*?[")]
    plain = Path(*plain_parts) if plain_parts else Path()
    try:
        plain = plain.resolve() if plain.exists() else plain
        return plain.name if plain.is_dir() else plain.stem
    except (OSError, ValueError, RuntimeError):  # not permitted, a null byte, links in a circle
        return plain.stem


def _camera(spec: str) -> str:
    """The host and path of a camera, without credentials."""
    if "://" not in spec:
        return f"camera-{spec.removeprefix('/dev/video')}"
    parts = urlsplit(redacted(spec))
    return f"{parts.hostname or 'camera'}{unquote(parts.path).removesuffix('.m3u8')}"


def slug(name: str) -> str:
    """`name` in the characters that feeds may have, at most 63.

    Case is folded; white space and punctuation become dashes. Where more is lost (the rest of a long name, emoji, bytes
    that are no text), a hash of the whole name keeps it distinct.
    """
    text = folded(name.translate(_JOINERS))
    readable = "".join(character if in_feed_name(character) else "\n" for character in text)
    plain = re.sub(r"\.{2,}", ".", re.sub(r"\n+", "-", readable)).strip("._-")
    plain = re.sub(r"^[^\w]+", "", plain).strip("._-")  # a combining mark begins no name
    if plain and len(plain) <= NAME_CHARACTERS and not any(map(_is_lost, text)):
        return plain
    digest = hashlib.sha256(unicodedata.normalize("NFC", name).encode("utf-8", "surrogatepass")).hexdigest()[
        :_HASH_CHARACTERS
    ]
    start = (plain or _WITHOUT_NAME)[: NAME_CHARACTERS - _HASH_CHARACTERS - 1].rstrip("._-")
    return f"{start}-{digest}"


def _is_lost(character: str) -> bool:
    """Whether a name without this character may be another one's: it is more than a separator."""
    if character.isascii() or in_feed_name(character):
        return False
    return unicodedata.category(character)[0] not in "PZ"
