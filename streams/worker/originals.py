"""A frame's original: stored as a blob before the first stage, and in memory before a stage requires it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import structlog

from processors.frame import Frame
from schemas.events import ImageRef
from stores.blobs import BlobStore, blob_uri, sha256_hex
from stores.errors import Missing, Refused, StoreUnavailable
from streams.lifecycle.deletions import Deletions
from streams.metrics import Metrics
from streams.retry import Retry
from streams.worker.in_flight import Death, InFlightFrame

log = structlog.get_logger()
HASHED_AT_ONCE_BYTES = 256 << 10
STAGE = "original"
"""Stands as `stage` in the dead letters of frames whose original is missing or wrong."""


class Originals:
    def __init__(self, blobs: BlobStore, deletions: Deletions, retry: Retry, metrics: Metrics) -> None:
        self._blobs = blobs
        self._deletions = deletions
        self._retry = retry
        self._metrics = metrics

    async def load(self, frames: Sequence[InFlightFrame]) -> list[InFlightFrame]:
        """Store pictures that came without a blob, fetch those that a stage will require; returns the absent ones.

        A frame whose reference can never be resolved gets its death here. Nothing is stored for a deleted frame.
        """
        alive = [inflight for inflight in frames if inflight.death is None]
        calls = [(inflight, self._store(inflight.frame)) for inflight in alive if self._needs_store(inflight.frame)]
        calls += [(inflight, self._fetch(inflight.frame)) for inflight in alive if _needs_fetch(inflight)]
        calls += [(inflight, self._verify(inflight.frame)) for inflight in alive if _needs_verification(inflight)]
        results = await asyncio.gather(*(call for _, call in calls), return_exceptions=True)
        absent = []
        for (inflight, _), result in zip(calls, results, strict=True):
            if isinstance(result, Missing):
                absent.append(inflight)
            elif isinstance(result, Refused | ValueError):
                inflight.death = Death(STAGE, "wrong_original", str(result))
            elif isinstance(result, BaseException):
                raise result
        return absent

    def _needs_store(self, frame: Frame) -> bool:
        return not frame.image.uri and frame.id not in self._deletions

    async def _store(self, frame: Frame) -> None:
        content = frame.original
        if content is None:
            raise ValueError("the event has neither a blob nor bytes")
        sha256 = await _sha256(content)
        if frame.image.sha256.lower() not in ("", sha256):
            raise ValueError(f"the bytes in the record have another hash than its event names: {sha256}")
        uri = blob_uri(frame.tenant, frame.feed, frame.ingested.date(), sha256)
        await self._retry.forever("blobs", lambda: self._put(frame.tenant, uri, content), StoreUnavailable)
        frame.image = msgspec.structs.replace(frame.image, uri=uri, sha256=sha256, size_bytes=len(content))

    async def _put(self, tenant: str, uri: str, content: bytes) -> None:
        with self._metrics.blob_seconds.labels("put").time():
            await self._blobs.put(tenant, uri, content)

    async def _fetch(self, frame: Frame) -> None:
        frame.original = await self._retry.forever(
            "blobs", lambda: self._get(frame.tenant, frame.image), StoreUnavailable
        )

    async def _verify(self, frame: Frame) -> None:
        """Take the blob in the place of bytes that were changed on their way.

        Raises Refused naming both where the blob is damaged or absent as well.
        """
        sha256, named = await _sha256(frame.original or b""), frame.image.sha256 or frame.image.uri.rpartition("/")[2]
        if sha256 == named.lower():
            return
        changed = f"the bytes in the record have another hash than its event names: {sha256}"
        try:
            await self._fetch(frame)
        except (Missing, Refused) as error:
            raise Refused(f"{changed}; and {error}") from error
        log.warning("changed_bytes_replaced", frame=frame.id, why=f"{changed}; the stored original is intact")

    async def _get(self, tenant: str, image: ImageRef) -> bytes:
        with self._metrics.blob_seconds.labels("get").time():
            return await self._blobs.get(tenant, image.uri)


async def _sha256(content: bytes) -> str:
    """Hashing takes a millisecond a megabyte: what is larger must not hold up the event loop."""
    if len(content) <= HASHED_AT_ONCE_BYTES:
        return sha256_hex(content)
    return await asyncio.to_thread(sha256_hex, content)


def _needs_verification(inflight: InFlightFrame) -> bool:
    """Bytes that came with a record whose original is stored; those of the blob store were verified by it."""
    frame = inflight.frame
    return inflight.route.needs_original and frame.original is not None and bool(frame.image.uri)


def _needs_fetch(inflight: InFlightFrame) -> bool:
    frame = inflight.frame
    return inflight.route.needs_original and frame.original is None and bool(frame.image.uri)
