"""Blobs in an object store (S3, Google Cloud Storage, Azure) through obstore."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import suppress
from datetime import date, timedelta
from typing import TYPE_CHECKING, TypeVar

from obstore.exceptions import BaseError
from obstore.store import from_url

from schemas.identity import check_name
from stores.blobs import SCHEME, StoredBlob, check_content, is_blob, resolve
from stores.errors import Missing, StoreUnavailable
from stores.notes import checked, note_path
from stores.pages import pages

if TYPE_CHECKING:
    from obstore.store import ObjectStore, RetryConfig

T = TypeVar("T")
PAGE_OBJECTS = 1000
"""Of one answer to a listing, as most servers limit it."""
DELETED_AT_ONCE = 32
RETRY_SECONDS = 30.0
"""Obstore retries a request this long after transient errors; then the call raises StoreUnavailable."""


class _Objects:
    """Those in the bucket and below the prefix of a URL; credentials as the vendor's tools find them.

    An object is durable when its upload is answered, and appears whole or not at all.
    """

    def __init__(self, where: str, *, retry_seconds: float = RETRY_SECONDS) -> None:
        """Raises ValueError for a URL that obstore does not take."""
        self._where = where
        try:
            retries: RetryConfig = {"max_retries": 10, "retry_timeout": timedelta(seconds=retry_seconds)}
            self._store: ObjectStore = _open(where, retries)
        except (BaseError, ValueError) as error:
            raise ValueError(f"blobs {where!r}: {_first_line(error)}") from error

    async def close(self) -> None:
        """Connections belong to obstore, which closes them itself."""

    async def _content(self, path: str) -> bytes:
        result = await self._translated(self._store.get_async(path))
        return bytes(await self._translated(result.bytes_async()))

    async def _translated(self, answer: Awaitable[T]) -> T:
        try:
            return await answer
        except FileNotFoundError as error:
            raise Missing(f"no such blob in {self._where}") from error
        except (BaseError, OSError) as error:
            raise StoreUnavailable(f"the blob store {self._where}: {_first_line(error)}") from error


class ObjectBlobs(_Objects):
    """A `BlobStore`."""

    async def put(self, tenant: str, uri: str, content: bytes) -> None:
        path = resolve(uri, tenant)
        check_content(uri, content)
        await self._translated(self._store.put_async(path, content))

    async def get(self, tenant: str, uri: str) -> bytes:
        content = await self._content(resolve(uri, tenant))
        check_content(uri, content)
        return content

    async def delete(self, tenant: str, uri: str, *, put_before: float | None = None) -> None:
        path = resolve(uri, tenant)
        with suppress(Missing):
            if put_before is not None:
                found = await self._translated(self._store.head_async(path))
                if found["last_modified"].timestamp() >= put_before:
                    return
            await self._translated(self._store.delete_async(path))

    async def delete_many(self, tenant: str, uris: Sequence[str]) -> None:
        for page in pages(uris, DELETED_AT_ONCE):
            await asyncio.gather(*(self.delete(tenant, uri) for uri in page))

    async def days(self, tenant: str) -> Mapping[str, Sequence[date]]:
        found: dict[str, list[date]] = {}
        for feed in await self._names(tenant):
            days = []
            for name in await self._names(f"{tenant}/{feed}"):
                with suppress(ValueError):
                    days.append(date.fromisoformat(name))
            if days:
                found[feed] = sorted(days)
        return found

    async def _names(self, prefix: str) -> list[str]:
        """The names below a prefix that are prefixes themselves."""
        with suppress(Missing):
            listed = await self._translated(self._store.list_with_delimiter_async(prefix))
            return sorted(path.rpartition("/")[2] for path in listed["common_prefixes"])
        return []

    async def list(self, tenant: str, feed: str = "", day: date | None = None) -> AsyncIterator[StoredBlob]:
        check_name("tenant", tenant)
        for name in [feed] if feed or day is None else [*await self.days(tenant)]:
            parts = (tenant, name, day.isoformat() if day else "")
            async for blob in self._listed("/".join(part for part in parts if part)):
                yield blob

    async def _listed(self, prefix: str) -> AsyncIterator[StoredBlob]:
        pages = aiter(self._store.list(prefix, chunk_size=PAGE_OBJECTS))
        while page := await self._translated(anext(pages, None)):
            for found in page:
                if is_blob(uri := SCHEME + found["path"]):
                    yield StoredBlob(uri, found["size"], found["last_modified"].timestamp())


class ObjectNotes(_Objects):
    """`Notes` beside the blobs."""

    def __init__(self, where: str, about: str, *, retry_seconds: float = RETRY_SECONDS) -> None:
        """Raises ValueError for a URL that obstore does not take."""
        super().__init__(where, retry_seconds=retry_seconds)
        self._prefix = note_path(about)

    async def put(self, name: str, content: bytes) -> None:
        await self._translated(self._store.put_async(f"{self._prefix}/{checked(name)}", content))

    async def get(self, name: str) -> bytes:
        return await self._content(f"{self._prefix}/{checked(name)}")

    async def delete(self, name: str) -> None:
        with suppress(Missing):
            await self._translated(self._store.delete_async(f"{self._prefix}/{checked(name)}"))

    async def names(self) -> Sequence[str]:
        found: list[str] = []
        pages = aiter(self._store.list(self._prefix, chunk_size=PAGE_OBJECTS))
        with suppress(Missing):
            while page := await self._translated(anext(pages, None)):
                found += [listed["path"].rpartition("/")[2] for listed in page]
        return sorted(found)


def _open(where: str, retries: RetryConfig) -> ObjectStore:
    """Blobs are deleted one by one, and not every S3-compatible server supports bulk deletion."""
    if where.startswith("s3:"):
        return from_url(where, config={"disable_bulk_delete": True}, retry_config=retries)
    return from_url(where, retry_config=retries)


def _first_line(error: Exception) -> str:
    """The first line of the message; the lines below are obstore's own structures."""
    return str(error).partition("\n")[0]
