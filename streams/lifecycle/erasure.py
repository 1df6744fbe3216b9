"""A request to erase frames: what is written, and the proof that it was done.

Every deletion of a request carries its id and the hash of what was selected, so the receipt lies on `deletions` itself.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
from msgspec import Struct

from schemas import codec, topics
from schemas.errors import SchemaError
from schemas.events import Deletion
from stores.blobs import is_blob_of
from stores.errors import Missing, Refused
from stores.index import Filter, Match
from stores.pages import pages, point_pages
from streams.backends import Backends
from streams.lifecycle.citations import citation_of
from streams.lifecycle.frame_search import FoundFrame, FrameSelection, cited_in_index
from streams.topic_reader import read_topic
from streams.transport import Transport

IDS_PER_REQUEST, BLOBS_AT_ONCE = 500, 32


class Request(Struct, frozen=True, kw_only=True):
    """Who selected what, and when."""

    id: str
    selection: FrameSelection
    requested: datetime
    reason: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 of what was selected, in hexadecimal."""
        return hashlib.sha256(msgspec.json.encode(self.selection, order="deterministic")).hexdigest()

    def deletions(self, found: Mapping[str, FoundFrame], known: Mapping[str, Deletion] | None = None) -> list[Deletion]:
        """`known` are deletions of earlier requests, by frame: their receipts and blobs are kept."""
        digest = self.digest  # of the whole selection: made once
        return [self._deletion(frame, each, (known or {}).get(frame), digest) for frame, each in found.items()]

    def refusals(self, unknown: Iterable[str], known: Mapping[str, Deletion] | None = None) -> list[Deletion]:
        """Of frames of which nothing is left, or that never came: they are refused if they come. No feed is known."""
        nothing, digest = FoundFrame(feed=""), self.digest
        return [self._deletion(frame, nothing, (known or {}).get(frame), digest) for frame in unknown]

    def _deletion(self, frame: str, found: FoundFrame, known: Deletion | None, digest: str) -> Deletion:
        earlier, uris = (known.requests, {*found.uris, *known.uris}) if known else ({}, found.uris)
        return Deletion(
            frame=frame,
            tenant=self.selection.tenant,
            feed=found.feed or (known.feed if known else ""),
            requested=self.requested,
            reason=self.reason,
            uris=tuple(sorted(uris)),
            requests={**earlier, self.id: digest},
        )


@dataclass(slots=True)
class Proof:
    """Of a request, where something of its frames still lies. Nothing is left where all of it is empty."""

    deletions: list[Deletion]
    pending: list[str] = field(default_factory=list)
    """Frames that no worker has reported as erased."""
    in_index: list[str] = field(default_factory=list)
    on_log: list[str] = field(default_factory=list)
    """Frames of which a record is left."""
    pictures: list[str] = field(default_factory=list)
    """Blobs."""
    shared: list[str] = field(default_factory=list)
    """Blobs that stay because a frame that is not erased has the same picture."""
    without_picture: list[str] = field(default_factory=list)
    """Frames of which no picture was known: only their acceptance was left, or a dead letter held the bytes."""

    @property
    def is_done(self) -> bool:
        return not (self.pending or self.in_index or self.on_log or self.pictures)


async def prove(backends: Backends, request: str) -> Proof | None:
    """Look for everything of the request's frames; None where there is no such request. Raises Unavailable."""
    requested = await requested_deletions(backends.transport)
    deletions = [deletion for deletion in requested.values() if request in deletion.requests]
    if not deletions:
        return None
    frames = {deletion.frame for deletion in deletions}
    proof = Proof(deletions, sorted(deletion.frame for deletion in deletions if deletion.erased is None))
    proof.without_picture = sorted(deletion.frame for deletion in deletions if not deletion.uris)
    proof.in_index = sorted(await _in_index(backends, sorted(frames)))
    cited_by_others, on_log = await _on_log(backends, frames)
    proof.on_log = sorted(on_log)
    stored = await stored_blobs(backends, deletions)
    if not proof.in_index:  # so that what the index cites is of others
        cited_by_others |= await cited_in_index(backends, stored)
    for uri in stored:
        (proof.shared if uri in cited_by_others else proof.pictures).append(uri)
    return proof


async def requested_deletions(transport: Transport) -> dict[str, Deletion]:
    """By frame, as they stand now. Raises Unavailable."""
    latest: dict[bytes, Deletion] = {}
    if topics.DELETIONS not in await transport.topics():
        return {}
    async for record in read_topic(transport, topics.DELETIONS):
        try:
            latest[record.key] = codec.decode_deletion(record.value, record.headers)
        except SchemaError:
            latest.pop(record.key, None)  # taken back, or of another producer
    return {deletion.frame: deletion for deletion in latest.values()}


def erased_words(deletion: Deletion) -> str:
    """What is said of a frame that was deleted: when, and by which request."""
    request = f", request {list(deletion.requests)[-1]}" if deletion.requests else ""
    requested = f"requested {deletion.requested.isoformat(' ', 'seconds')}{request}"
    if not deletion.feed:
        return f"is unknown, and refused if it comes: {requested}"
    if deletion.erased is None:
        return f"is being erased: {requested}"
    return f"was erased {deletion.erased.isoformat(' ', 'seconds')}{request}"


async def _in_index(backends: Backends, frames: Sequence[str]) -> set[str]:
    """Frames with a point, or a region's."""
    left: set[str] = set()
    for collection in await backends.index.collections():
        for ids in pages(frames, IDS_PER_REQUEST):
            where = Filter(must=(Match(field="frame", any_of=tuple(ids)),))
            async for hits in point_pages(backends.index, collection, where):
                left |= {str(hit.payload["frame"]) for hit in hits}
    return left


async def _on_log(backends: Backends, frames: set[str]) -> tuple[set[str], set[str]]:
    """Blobs that other frames cite, and the frames of which a record is left."""
    cited: set[str] = set()
    left: set[str] = set()
    for topic in filter(topics.carries_frames, await backends.transport.topics()):
        async for record in read_topic(backends.transport, topic):
            if (citation := citation_of(record)) is None:
                continue
            if citation.frame in frames:
                left.add(citation.frame)
            else:
                cited |= citation.uris
    return cited, left


async def stored_blobs(backends: Backends, deletions: Sequence[Deletion]) -> list[str]:
    """The blobs of deletions that are there, damaged or not. Raises StoreUnavailable."""
    named = [(each.tenant, uri) for each in deletions for uri in each.uris if is_blob_of(uri, each.tenant)]
    stored: list[str] = []
    for page in pages(named, BLOBS_AT_ONCE):
        are_there = await asyncio.gather(*(_exists(backends, tenant, uri) for tenant, uri in page))
        stored += [uri for (_, uri), is_there in zip(page, are_there, strict=True) if is_there]
    return stored


async def _exists(backends: Backends, tenant: str, uri: str) -> bool:
    try:
        await backends.blobs.get(tenant, uri)
    except Missing:
        return False
    except Refused:  # damaged
        return True
    return True
