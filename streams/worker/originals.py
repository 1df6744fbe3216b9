"""A frame's original: in the blob store before the first stage sees it, at hand before a stage requires it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence

import msgspec

from processors.frame import Frame
from schemas.events import ImageRef
from stores.blobs import BlobStore, blob_uri
from stores.errors import Missing, Refused, StoreUnavailable
from streams.lifecycle.deletions import Deletions
from streams.metrics import Metrics
from streams.retry import Retry
from streams.worker.in_flight import Death, InFlightFrame

STAGE = "original"
"""Stands as `stage` in the dead letters of frames whose original is not there."""


class Originals:
    def __init__(self, blobs: BlobStore, deletions: Deletions, retry: Retry, metrics: Metrics) -> None:
        self._blobs = blobs
        self._deletions = deletions
        self._retry = retry
        self._metrics = metrics

    async def load(self, flights: Sequence[InFlightFrame]) -> list[InFlightFrame]:
        """Store pictures that came without a blob, fetch bytes that a stage will require; returns the absent ones.

        A frame whose reference can never be resolved gets its death here. Of a deleted frame nothing is stored.
        """
        alive = [flight for flight in flights if flight.death is None]
        kept = [one for one in alive if one.frame.id not in self._deletions] if self._deletions else alive
        work = [(flight, self._store(flight.frame)) for flight in kept if not flight.frame.image.uri]
        work += [(flight, self._fetch(flight.frame)) for flight in alive if _needs_fetch(flight)]
        outcomes = await asyncio.gather(*(call for _, call in work), return_exceptions=True)
        absent = []
        for (flight, _), outcome in zip(work, outcomes, strict=True):
            if isinstance(outcome, Missing):
                absent.append(flight)
            elif isinstance(outcome, Refused | ValueError):
                flight.death = Death(STAGE, "wrong_original", str(outcome))
            elif isinstance(outcome, BaseException):
                raise outcome
        return absent

    async def _store(self, frame: Frame) -> None:
        content = frame.original
        if content is None:
            raise ValueError("the event has neither a blob nor bytes")
        sha256 = hashlib.sha256(content).hexdigest()
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

    async def _get(self, tenant: str, image: ImageRef) -> bytes:
        with self._metrics.blob_seconds.labels("get").time():
            return await self._blobs.get(tenant, image.uri)


def _needs_fetch(flight: InFlightFrame) -> bool:
    return flight.route.needs_bytes and flight.frame.original is None and bool(flight.frame.image.uri)
