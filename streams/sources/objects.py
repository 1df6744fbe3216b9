"""Pictures in an object store: all objects below a prefix once, or new ones without end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, TypeVar

import structlog
from obstore.exceptions import BaseError
from obstore.store import from_url

from schemas.events import Kind
from schemas.identity import object_position
from schemas.pictures import FORMATS, picture_format
from streams.clock import Clock
from streams.errors import Unavailable
from streams.retry import Backoff
from streams.sources.concurrent_map import map_concurrently
from streams.sources.exclusion import Exclusion
from streams.sources.images import MAX_PICTURE_BYTES
from streams.sources.source import LeftOut, Offer, Picture, Refusal, Repeated, Seen, UnreadableSource, is_picture
from streams.sources.url_guard import redacted

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ObjectStore, RetryConfig

log = structlog.get_logger()
T = TypeVar("T")
SCHEMES = ("s3", "gs", "az", "file")
RETRY_SECONDS = 30.0
"""How long obstore repeats a request after transient errors."""
FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 1.0, 60.0
_ADVICE = "check bucket, prefix and the credentials in the environment (AWS_…, GOOGLE_…, AZURE_…)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """How a prefix is read. It is listed every `follow_seconds` without end; None: once."""

    follow_seconds: float | None = None
    limit: int | None = None
    at_once: int = 8
    retry_seconds: float = RETRY_SECONDS


class ObjectsSource:
    """The objects below a URL: `s3://BUCKET/PREFIX`, `gs://`, `az://` or `file:///FOLDER`.

    Credentials come from the environment variables of the vendors' tools. An object's position is its key with its
    version, which is part of a listing: a known object is not fetched again, an overwritten one is a new picture.
    """

    kind: Kind = "still"
    repeatable = True

    def __init__(self, url: str, listing: Listing, clock: Clock, exclusion: Exclusion | None = None) -> None:
        """Raises UnreadableSource for a URL that obstore does not accept."""
        self._url = url.rstrip("/")
        self._exclusion = exclusion or Exclusion()
        self._listing = listing
        self._clock = clock
        self._left_out = 0
        self._known: set[bytes] = set()
        """Digests of the positions of the last listing, refused objects included; empty if it is not followed."""
        try:
            retries: RetryConfig = {"max_retries": 10, "retry_timeout": timedelta(seconds=listing.retry_seconds)}
            self._store: ObjectStore = from_url(self._url, retry_config=retries)
        except (BaseError, ValueError) as error:
            raise UnreadableSource(f"{redacted(url)}: {_first_line(error)}; {_ADVICE}") from None

    async def total(self) -> int | None:
        return self._listing.limit

    async def offers(self, seen: Seen) -> AsyncGenerator[Offer, None]:
        """Raises UnreadableSource if the first listing fails; later ones are retried while the store is unavailable."""
        offered, was_listed = 0, False
        backoff = Backoff(self._clock, first_seconds=FIRST_PAUSE_SECONDS, most_seconds=MAX_PAUSE_SECONDS)
        while True:
            try:
                async with aclosing(self._new(seen)) as new:
                    async for offer in new:
                        yield offer
                        offered += is_picture(offer)
                        if offered == self._listing.limit:
                            return
            except Unavailable as error:
                if not was_listed:
                    raise UnreadableSource(f"{error}; {_ADVICE}") from None
                log.warning("source unavailable", source=redacted(self._url), why=str(error))
                await backoff.pause()
                continue
            was_listed = True
            backoff.reset()
            if self._listing.follow_seconds is None:
                return
            await self._clock.sleep(self._listing.follow_seconds)

    async def _new(self, seen: Seen) -> AsyncGenerator[Offer, None]:
        """Objects of a listing that the previous one did not have."""
        before, self._known, told = self._known, set(), self._left_out
        offer = partial(self._offer, seen=seen)
        try:
            async with (
                aclosing(self._listed(before)) as listed,
                aclosing(map_concurrently(listed, offer, self._listing.at_once)) as offers,
            ):
                async for meta, offered in offers:
                    self._remember(meta)
                    yield offered
                if self._left_out > told:
                    yield LeftOut(self._left_out - told)
        except BaseException:
            self._known |= before
            raise

    async def _listed(self, before: set[bytes]) -> AsyncGenerator[ObjectMeta, None]:
        pages = aiter(self._store.list())
        while (page := await self._translated(_page(pages))) is not None:
            for meta in page:
                if self._digest(meta) in before:
                    self._remember(meta)
                elif self._exclusion.excludes_any(self._below(meta)):
                    self._left_out += meta["size"] > 0
                    self._remember(meta)
                elif meta["size"] or not meta["path"].endswith("/"):
                    yield meta

    def _below(self, meta: ObjectMeta) -> list[str]:
        """The parts of the object's key below the prefix."""
        return meta["path"].split("/")

    def _remember(self, meta: ObjectMeta) -> None:
        if self._listing.follow_seconds is not None:
            self._known.add(self._digest(meta))

    def _digest(self, meta: ObjectMeta) -> bytes:
        return blake2b(self._position(meta).encode(), digest_size=16).digest()

    async def _offer(self, meta: ObjectMeta, seen: Seen) -> Offer:
        name, size = self._key(meta), meta["size"]
        if seen(position := self._position(meta)):
            return Repeated(position)
        if not 0 < size <= MAX_PICTURE_BYTES:
            reason = "too_large" if size else "empty"
            return Refusal(name, reason, f"{name}: has {size} bytes; 1 to {MAX_PICTURE_BYTES} are accepted")
        try:
            answer = await self._translated(self._store.get_async(meta["path"]))
            content = bytes(await self._translated(answer.bytes_async()))
        except FileNotFoundError:
            return Refusal(name, "missing", f"{name}: was deleted after it was listed")
        image_format = picture_format(content)
        if image_format is None:
            return Refusal(name, "not_a_picture", f"{name}: not {FORMATS}")
        position = self._position({**answer.meta, "path": meta["path"]})
        return Picture(position, content, image_format, origin=redacted(name))

    async def _translated(self, request: Awaitable[T]) -> T:
        """Raises Unavailable, and FileNotFoundError for an object that does not exist."""
        try:
            return await request
        except FileNotFoundError:
            raise
        except (BaseError, OSError) as error:
            raise Unavailable(f"{redacted(self._url)}: {_first_line(error)}") from None

    def _key(self, meta: ObjectMeta) -> str:
        """The object's whole key, the same below any prefix."""
        return f"{self._url}/{meta['path']}"

    def _position(self, meta: ObjectMeta) -> str:
        version = meta["version"] or (meta["e_tag"] or "").strip('"') or meta["last_modified"].isoformat()
        return object_position(self._key(meta), version)


def is_object_url(spec: str) -> bool:
    return "://" in spec and spec.partition("://")[0].lower() in SCHEMES


async def _page(pages: AsyncIterator[Sequence[ObjectMeta]]) -> Sequence[ObjectMeta] | None:
    return await anext(pages, None)


def _first_line(error: BaseException) -> str:
    """The message; obstore prints its own structures in further lines."""
    return str(error).partition("\n")[0][:300]
