"""Retention holds for every tenant of the log, and for no other deployment's pictures in the same store."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from schemas import points, topics
from schemas.events import FrameEvent
from stores.folder import BlobFolder
from stores.index import CollectionSpec, Point
from streams.backends import Backends
from streams.clock import ManualClock
from streams.lifecycle.accepted_frames import acceptance_record
from streams.lifecycle.kept_frames import TrimmedFeeds
from streams.lifecycle.picture_removal import PictureRemoval
from streams.lifecycle.storage_settings import FeedStorage, StorageSettings
from streams.lifecycle.stored_bytes import StoredBytes
from streams.lifecycle.tenants import Tenants
from streams.lifecycle.trimmer import Trimmer
from streams.lifecycle.unfinished_blobs import UnfinishedBlobs
from streams.metrics import Metrics
from streams.worker.instruments import worker_instruments
from tests.support.deployment import QUICK, Deployment, collections, deployed
from tests.support.events import frame_event
from tests.support.fault_stages import DIMENSION

FIRST = datetime(2026, 11, 1, tzinfo=UTC)
SIZE = 4096
"""A whole block of the file system."""
SPEC = CollectionSpec(
    name=collections()["frames"].name, vectors={points.SEMANTIC: DIMENSION}, payload=points.FRAME_FIELDS
)


@dataclass
class Shared:
    here: Deployment
    clock: ManualClock = field(default_factory=lambda: ManualClock(FIRST.timestamp()))

    @property
    def backends(self) -> Backends:
        blobs = BlobFolder(self.here.folder / "blobs", wall=self.clock.now)
        return Backends(self.here.transport, self.here.index, blobs)

    async def add(self, tenant: str, number: int, *, point: bool = False) -> FrameEvent:
        """A picture, with its point or alone; then an hour passes."""
        content = f"{tenant} {number}".encode().ljust(SIZE)
        now = datetime.fromtimestamp(self.clock.now(), UTC)
        event = frame_event(str(number), content, tenant=tenant, ingested=now, inline=False)
        await self.backends.blobs.put(tenant, event.image.uri, content)
        if point:
            payload = {
                "tenant": tenant, "feed": "lobby", "frame": event.id, "ingested": now.isoformat(),
                "uri": event.image.uri, "thumbnail": event.image.uri,
            }  # fmt: skip
            vectors = {points.SEMANTIC: np.ones(DIMENSION, np.float32)}
            await self.here.index.upsert(SPEC.name, [Point(id=event.id, vectors=vectors, payload=payload)])
        self.clock.advance(3600)
        return event

    def trimmer(self, storage: StorageSettings) -> Trimmer:
        backends = self.backends
        retry = worker_instruments(QUICK, Metrics(CollectorRegistry()), self.clock).retry
        removal = PictureRemoval(
            backends, "default", UnfinishedBlobs(backends.transport, {"sightline.decode": topics.RAW})
        )
        stored = StoredBytes(backends.blobs, "default", self.clock, Tenants(backends, "default"))
        return Trimmer(backends, storage, stored, removal, retry, self.clock)

    async def left(self, tenant: str) -> set[str]:
        return {blob.uri async for blob in self.backends.blobs.list(tenant)}

    async def points(self) -> set[str]:
        page, _ = await self.here.index.scroll(SPEC.name, limit=100)
        return {hit.id for hit in page}


def uris(*events: FrameEvent) -> set[str]:
    return {event.image.uri for event in events}


@pytest.mark.parametrize(
    "limits",
    [
        StorageSettings(log_hours=1, picture_hours=3.5),
        StorageSettings(log_hours=1, feeds={"lobby": FeedStorage(hours=3.5)}),
        StorageSettings(picture_bytes=3 * SIZE + 1000),
    ],
    ids=["time", "time of a feed", "size of all"],
)
async def test_all_tenants_of_the_log_share_the_limits(tmp_path: Path, limits: StorageSettings) -> None:
    async with deployed(tmp_path) as deployment:
        shared = Shared(deployment)
        await deployment.index.ensure(SPEC)
        elsewhere = await shared.add("elsewhere", 0)
        indexed = [await shared.add("museum", number, point=True) for number in range(2)]
        own = [await shared.add("default", number, point=True) for number in range(2)]
        listed = [await shared.add("shop", number) for number in range(2)]
        ids = [event.id for event in listed]
        await deployment.publish([acceptance_record("shop", "lobby", ids, shared.clock.now())])
        await shared.trimmer(limits).run()
        assert await shared.left("museum") == set()
        assert await shared.left("default") == uris(own[1])
        assert await shared.left("shop") == uris(*listed)
        assert await shared.left("elsewhere") == uris(elsewhere)
        assert await shared.points() == {own[1].id}
        trimmed = TrimmedFeeds(deployment.transport)
        await trimmed.catch_up()
        assert trimmed.took("museum", "lobby", indexed[1].ingested)
        assert not trimmed.took("default", "lobby", own[1].ingested)


async def test_a_feed_of_another_tenant_has_the_limit_of_its_name(tmp_path: Path) -> None:
    async with deployed(tmp_path) as deployment:
        shared = Shared(deployment)
        await deployment.index.ensure(SPEC)
        museum = [await shared.add("museum", number, point=True) for number in range(5)]
        own = [await shared.add("default", number, point=True) for number in range(3)]
        await shared.trimmer(StorageSettings(feeds={"lobby": FeedStorage(bytes=3 * SIZE + 1000)})).run()
        assert await shared.left("museum") == uris(*museum[-3:])
        assert await shared.left("default") == uris(*own)
