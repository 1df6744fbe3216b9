"""The protocol of a store for originals and thumbnails, and the URIs of its blobs.

A `blob:` URI is `blob:TENANT/FEED/DAY/SHA256` (thumbnails end in `.thumb`). It holds no host and no folder: it is
resolved inside the tenant's prefix of the configured store. Content is named by its hash, so writing the same bytes
twice is harmless.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import date
from functools import lru_cache
from typing import NamedTuple, Protocol

from schemas.identity import check_name
from stores.errors import Refused

SCHEME = "blob:"
THUMBNAIL = ".thumb"
"""Suffix of a thumbnail; before it stands the hash of its original."""
_URI = re.compile(r"blob:([^/]+)/([^/]+)/([0-9]{4}-[0-9]{2}-[0-9]{2})/([0-9a-f]{64}(?:\.thumb)?)")


def blob_uri(tenant: str, feed: str, day: date, sha256: str, suffix: str = "") -> str:
    """The URI of a blob; `sha256` is hexadecimal, of the original's bytes."""
    return f"{SCHEME}{tenant}/{feed}/{day.isoformat()}/{sha256}{suffix}"


def blob_path(uri: str, tenant: str) -> str:
    """The path of `uri` below the store's root. Raises ValueError if it is malformed or another tenant's."""
    match = _URI.fullmatch(uri)
    if match is None or match.group(1) != tenant:
        raise ValueError(f"not a blob of tenant {tenant!r}: {uri[:200]!r}")
    _check_names(tenant, match.group(2))
    return uri.removeprefix(SCHEME)


@lru_cache(maxsize=1024)
def _check_names(tenant: str, feed: str) -> None:
    check_name("tenant", tenant)
    check_name("feed", feed)


def is_blob(uri: str) -> bool:
    return _URI.fullmatch(uri) is not None


def is_blob_of(uri: str, tenant: str) -> bool:
    try:
        blob_path(uri, tenant)
    except ValueError:
        return False
    return True


def resolve(uri: str, tenant: str) -> str:
    """`blob_path` for a store: raises Refused instead of ValueError."""
    try:
        return blob_path(uri, tenant)
    except ValueError as error:
        raise Refused(str(error)) from error


def check_content(uri: str, content: bytes) -> None:
    """Raise Refused if `content` is not what `uri` names. A thumbnail has its original's name and is not checked."""
    if not uri.endswith(THUMBNAIL) and uri.rpartition("/")[2] != sha256_hex(content):
        raise Refused(f"the content of {uri} has another hash than its name: {sha256_hex(content)}")


def sha256_hex(content: bytes | memoryview) -> str:
    return hashlib.sha256(content).hexdigest()


class StoredBlob(NamedTuple):
    """A blob as a listing names it."""

    uri: str
    size_bytes: int
    """What it takes: in a folder, whole blocks of the disk."""
    modified: float
    """When it was last put, seconds since the epoch by the store's clock."""


def day_of(uri: str) -> date:
    """The day in a URI: its frame was accepted on it, in UTC. Raises ValueError."""
    match = _URI.fullmatch(uri)
    if match is None:
        raise ValueError(f"not a blob: {uri[:200]!r}")
    return date.fromisoformat(match.group(3))


class BlobStore(Protocol):
    """All calls raise StoreUnavailable when the store is unavailable, and Refused for a URI that is not `tenant`'s."""

    async def put(self, tenant: str, uri: str, content: bytes) -> None:
        """Write durably (a folder: file and directory synced, renamed into place).

        An existing blob keeps its content and counts as put now, so that no one who lists it takes it for an old one.

        Raises Refused if `content` has another hash than the name.
        """

    async def get(self, tenant: str, uri: str) -> bytes:
        """The whole blob. Raises Missing, and Refused if the content's hash is not the one in the name."""

    async def delete(self, tenant: str, uri: str, *, put_before: float | None = None) -> None:
        """Remove durably; a missing blob is no error. The blob may be put again.

        With `put_before` (seconds since the epoch) a blob that was put at or after that moment stays.
        """

    async def delete_many(self, tenant: str, uris: Sequence[str]) -> None:
        """As `delete` of each, at a lower cost; all of them are gone durably when it returns."""

    async def days(self, tenant: str) -> Mapping[str, Sequence[date]]:
        """The days of each feed that has blobs, in order. It reads the folders above the blobs alone."""
        ...

    def list(self, tenant: str, feed: str = "", day: date | None = None) -> AsyncIterator[StoredBlob]:
        """The tenant's blobs, one feed's, or one day's, in any order; what is no blob is left out.

        It is read page by page: a blob that is put or deleted meanwhile may be among them or not.
        """
        ...

    async def close(self) -> None: ...
