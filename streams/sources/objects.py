"""Pictures in an object store: everything below a prefix once, or what is new there for ever."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, TypeVar

import structlog
from obstore.exceptions import BaseError
from obstore.store import from_url

from schemas.events import Kind
from schemas.identity import object_position
from schemas.pictures import picture_format
from streams.clock import Clock
from streams.errors import Unavailable
from streams.retry import pauses
from streams.sources.concurrent_map import ahead
from streams.sources.images import MAX_PICTURE_BYTES
from streams.sources.source import Offer, Picture, Refusal, Repeated, Seen, UnreadableSource
from streams.sources.url_guard import redacted

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ObjectStore, RetryConfig

log = structlog.get_logger()
T = TypeVar("T")
SCHEMES = ("s3", "gs", "az", "file")
RETRY_SECONDS = 30.0
"""Obstore repeats a request that failed in passing for so long."""
_FIRST_PAUSE_SECONDS, _MOST_PAUSE_SECONDS = 1.0, 60.0
_WAY_OUT = "check bucket, prefix and the credentials in the environment (AWS_…, GOOGLE_…, AZURE_…)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """How a prefix is read. `follow_seconds` looks again after so long, for ever; None looks once."""

    follow_seconds: float | None = None
    limit: int | None = None
    at_once: int = 8
    retry_seconds: float = RETRY_SECONDS


class ObjectsSource:
    """`where` is `s3://BUCKET/PREFIX`, `gs://`, `az://` or `file:///FOLDER`; credentials as vendors' tools find them.

    An object's position is its key with its version, which a listing tells: what was seen is not fetched again, and
    what was written over is new.
    """

    kind: Kind = "still"
    repeatable = True

    def __init__(self, where: str, listing: Listing, clock: Clock) -> None:
        """Raises UnreadableSource for a URL that obstore does not take."""
        self._where = where.rstrip("/")
        self._listing = listing
        self._clock = clock
        self._known: set[bytes] = set()
        """Digests of the positions of the last listing, also of what was refused; empty where nothing is followed."""
        try:
            retries: RetryConfig = {"max_retries": 10, "retry_timeout": timedelta(seconds=listing.retry_seconds)}
            self._store: ObjectStore = from_url(self._where, retry_config=retries)
        except (BaseError, ValueError) as error:
            raise UnreadableSource(f"{redacted(where)}: {_first_line(error)}; {_WAY_OUT}") from None

    async def total(self) -> int | None:
        return self._listing.limit

    async def offers(self, seen: Seen) -> AsyncGenerator[Offer, None]:
        """Raises UnreadableSource for a prefix that cannot be listed; while it is followed, what is away is awaited."""
        offered, followed, waits = 0, False, pauses(_FIRST_PAUSE_SECONDS, _MOST_PAUSE_SECONDS)
        while True:
            try:
                async with aclosing(self._new(seen)) as found:
                    async for offer in found:
                        yield offer
                        offered += not isinstance(offer, Refusal)
                        if offered == self._listing.limit:
                            return
            except Unavailable as away:
                if not followed:
                    raise UnreadableSource(f"{away}; {_WAY_OUT}") from None
                log.warning("source away", source=redacted(self._where), why=str(away))
                await self._clock.sleep(next(waits))
                continue
            followed, waits = True, pauses(_FIRST_PAUSE_SECONDS, _MOST_PAUSE_SECONDS)
            if self._listing.follow_seconds is None:
                return
            await self._clock.sleep(self._listing.follow_seconds)

    async def _new(self, seen: Seen) -> AsyncGenerator[Offer, None]:
        """What a listing shows and the one before did not."""
        before, self._known = self._known, set()
        try:
            async with (
                aclosing(self._listed(before)) as listed,
                aclosing(ahead(listed, lambda meta: self._offer(meta, seen), self._listing.at_once)) as answers,
            ):
                async for meta, offer in answers:
                    self._note(meta)
                    yield offer
        except BaseException:
            self._known |= before
            raise

    async def _listed(self, before: set[bytes]) -> AsyncGenerator[ObjectMeta, None]:
        pages = aiter(self._store.list())
        while (page := await self._ask(_page(pages))) is not None:
            for meta in page:
                if self._digest(meta) in before:
                    self._note(meta)
                elif meta["size"] or not meta["path"].endswith("/"):
                    yield meta

    def _note(self, meta: ObjectMeta) -> None:
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
            return Refusal(name, reason, f"{name}: has {size} bytes, 1 to {MAX_PICTURE_BYTES} are taken")
        try:
            got = await self._ask(self._store.get_async(meta["path"]))
            content = bytes(await self._ask(got.bytes_async()))
        except FileNotFoundError:
            return Refusal(name, "missing", f"{name}: is gone since it was listed")
        form = picture_format(content)
        if form is None:
            return Refusal(name, "not_a_picture", f"{name}: no JPEG, PNG or WebP by its first bytes")
        return Picture(self._position({**got.meta, "path": meta["path"]}), content, form)

    async def _ask(self, answer: Awaitable[T]) -> T:
        """Raises Unavailable, and FileNotFoundError for an object that is not there."""
        try:
            return await answer
        except FileNotFoundError:
            raise
        except (BaseError, OSError) as error:
            raise Unavailable(f"{redacted(self._where)}: {_first_line(error)}") from None

    def _key(self, meta: ObjectMeta) -> str:
        """The object's whole key, whatever prefix it was listed below."""
        return f"{self._where}/{meta['path']}"

    def _position(self, meta: ObjectMeta) -> str:
        version = meta["version"] or (meta["e_tag"] or "").strip('"') or meta["last_modified"].isoformat()
        return object_position(self._key(meta), version)


async def _page(pages: AsyncIterator[Sequence[ObjectMeta]]) -> Sequence[ObjectMeta] | None:
    return await anext(pages, None)


def _first_line(error: BaseException) -> str:
    """Below it obstore prints its own structures."""
    return str(error).partition("\n")[0][:300]
