"""No point is left without its picture, wherever a removal is broken off, and whatever is replayed meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import numpy as np

from schemas import points, topics
from schemas.events import FrameEvent
from stores.blobs import THUMBNAIL
from stores.errors import Missing
from stores.index import Point
from streams.backends import Backends
from streams.lifecycle.known_frames import raw_record
from streams.lifecycle.oldest_blobs import AgedBlob
from streams.lifecycle.picture_removal import PictureRemoval
from streams.lifecycle.unfinished_blobs import UnfinishedBlobs
from streams.transport import Position
from tests.contract.transport_suite import RecordingListener
from tests.support.deployment import collections
from tests.support.fault_stages import DIMENSION
from tests.unit.streams.lifecycle.test_trimmer import READERS, Retention, index_folder, retention

__all__ = ["index_folder", "retention"]
FRAMES = collections()["frames"].name
(GROUP,) = READERS


def removal_of(retention: Retention) -> PictureRemoval:
    here = retention.deployment
    unfinished = UnfinishedBlobs(here.transport, READERS)
    return PictureRemoval(Backends(here.transport, here.index, retention.blobs), "default", unfinished)


async def all_pictures(retention: Retention) -> list[AgedBlob]:
    return sorted([AgedBlob(blob.modified, blob, "lobby") async for blob in retention.blobs.list("default")])


async def without_picture(retention: Retention) -> set[str]:
    stored = {blob.uri async for blob in retention.blobs.list("default")}
    page, _ = await retention.deployment.index.scroll(FRAMES, limit=1000)
    return {hit.id for hit in page if not {hit.payload["uri"], hit.payload["thumbnail"]} <= stored}


async def test_a_removal_that_is_broken_off_anywhere_leaves_whole_frames(retention: Retention) -> None:
    for turns in range(0, 60, 4):
        for number in range(4):
            await retention.add(100 * turns + number)
        removing = asyncio.create_task(removal_of(retention).remove(await all_pictures(retention)))
        for _ in range(turns * turns):
            await asyncio.sleep(0)
        removing.cancel()
        await asyncio.gather(removing, return_exceptions=True)
        assert await without_picture(retention) == set(), f"broken off after {turns * turns} turns"
    await removal_of(retention).remove(await all_pictures(retention))
    assert await all_pictures(retention) == []
    assert (await retention.deployment.index.scroll(FRAMES, limit=10))[0] == []


async def replay(retention: Retention, events: Sequence[FrameEvent]) -> int:
    """As a worker does it: original, thumbnail, point; returns how many frames still had their original."""
    here, done = retention.deployment, 0
    for event in events:
        await here.publish([raw_record(event)])
        try:
            content = await retention.blobs.get("default", event.image.uri)
        except Missing:
            continue
        thumbnail = event.image.uri + THUMBNAIL
        await retention.blobs.put("default", thumbnail, content[:10])
        payload = {
            "tenant": "default", "feed": "lobby", "frame": event.id, "ingested": event.ingested.isoformat(),
            "uri": event.image.uri, "thumbnail": thumbnail,
        }  # fmt: skip
        vectors = {points.SEMANTIC: np.ones(DIMENSION, np.float32)}
        await here.index.upsert(FRAMES, [Point(id=event.id, vectors=vectors, payload=payload)])
        done += 1
    return done


async def commit_all(retention: Retention) -> None:
    transport = retention.deployment.transport
    consumer = await transport.consumer(GROUP, [topics.RAW], RecordingListener())
    await consumer.poll(1, 1.0)
    ends = {partition: Position(end) for partition, (_, end) in (await transport.ends(topics.RAW)).items()}
    await consumer.commit(ends, consumer.assignment())
    await consumer.close()


async def test_frames_that_are_replayed_while_their_pictures_go_are_whole_or_gone(retention: Retention) -> None:
    events = [await retention.add(number) for number in range(40)]
    retention.clock.advance(timedelta(days=1).total_seconds())
    removal = removal_of(retention)
    due = await all_pictures(retention)
    removed, _ = await asyncio.gather(removal.remove(due), replay(retention, [*reversed(events), *events]))
    assert removed.blobs > 0
    await commit_all(retention)
    await removal.finish()
    assert await without_picture(retention) == set()
