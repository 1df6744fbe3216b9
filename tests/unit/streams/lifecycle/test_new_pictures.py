"""Pictures of the last ten minutes make room too, once their frames are finished. Log and folder share a clock."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace as replace_fields
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from schemas import codec, points, topics
from schemas.cloudevents import ENRICHED_TYPE, frame_headers
from schemas.events import FrameEvent
from schemas.retention import Kept
from stores.blobs import THUMBNAIL, sha256_hex
from stores.index import Point
from streams.backends import Backends
from streams.lifecycle.kept_frames import kept_record
from streams.lifecycle.known_frames import raw_record
from streams.lifecycle.storage_settings import FeedStorage, StorageSettings
from streams.lifecycle.storage_upkeep import HURRIED_SECONDS, StorageSpec, make_upkeep
from streams.metrics import Metrics
from streams.plan import Plan
from streams.sqlite.transport import LogSettings, SqliteTransport
from streams.transport import NewRecord, Partition, Position
from streams.worker.instruments import worker_instruments
from tests.contract.transport_suite import RecordingListener
from tests.support.deployment import QUICK, collections, declared, deployed
from tests.support.events import frame_event
from tests.support.fault_stages import DIMENSION
from tests.unit.streams.lifecycle.test_trimmer import READERS, SIZE, SMALL, Retention, index_folder, uris

__all__ = ["index_folder"]
(GROUP,) = READERS
EACH = SIZE + SMALL


@dataclass
class Backlog(Retention):
    """Frames that are accepted and finished one second after the other."""

    thumbnails: dict[str, str] = field(default_factory=dict)
    """By frame."""

    async def put_original(self, number: int, feed: str = "lobby", content: bytes = b"") -> FrameEvent:
        content = content or np.random.default_rng((number, len(feed))).bytes(SIZE)
        event = frame_event(f"{feed}:{number}", content, feed=feed, ingested=self.now, inline=False)
        await self.blobs.put("default", event.image.uri, content)
        self.clock.advance(1)
        return event

    async def accept(self, number: int, feed: str = "lobby", content: bytes = b"") -> FrameEvent:
        event = await self.put_original(number, feed, content)
        await self.deployment.publish([raw_record(event)])
        return event

    async def finish(self, events: Sequence[FrameEvent], *, has_points: bool = True) -> None:
        """As a worker does it: thumbnails, points, events; the commit is for all that lies on the log."""
        for event in events:
            content = await self.blobs.get("default", event.image.uri)
            thumbnail = event.image.uri.replace(event.image.sha256, sha256_hex(content[:SMALL])) + THUMBNAIL
            await self.blobs.put("default", thumbnail, content[:SMALL])
            self.clock.advance(1)
            if has_points:
                payload = {
                    "tenant": "default", "feed": event.feed, "frame": event.id,
                    "ingested": event.ingested.isoformat(), "uri": event.image.uri, "thumbnail": thumbnail,
                }  # fmt: skip
                point = Point(id=event.id, vectors={points.SEMANTIC: np.ones(DIMENSION, np.float32)}, payload=payload)
                for spec in collections().values():
                    await self.deployment.index.upsert(spec.name, [point])
            enriched = replace_fields(event, image=replace_fields(event.image, thumbnail=thumbnail))
            headers = frame_headers(enriched, ENRICHED_TYPE)
            await self.deployment.publish(
                [NewRecord(topics.ENRICHED, event.id.encode(), codec.encode_frame(enriched), headers)]
            )
            self.thumbnails[event.id] = thumbnail

    async def commit(self, events: Sequence[FrameEvent] | None = None) -> None:
        """Finish these first records of their partitions, or all."""
        transport = self.deployment.transport
        consumer = await transport.consumer(GROUP, [topics.RAW], RecordingListener())
        await consumer.poll(1, 1.0)
        ends = {partition: end for partition, (_, end) in (await transport.ends(topics.RAW)).items()}
        if events is not None:
            ends = await self._behind(events, ends)
        positions = {partition: Position(end) for partition, end in ends.items()}
        await consumer.commit(positions, consumer.assignment())
        await consumer.close()

    async def _behind(self, events: Sequence[FrameEvent], ends: dict[Partition, int]) -> dict[Partition, int]:
        ids, found = {event.id for event in events}, {}
        for partition in ends:
            page = await self.deployment.transport.read(partition, 0, 1000)
            frames = [codec.decode_frame(one.value, one.headers).event.id for one in page]
            found[partition] = next((at for at, frame in enumerate(frames) if frame not in ids), len(frames))
        return found

    async def used(self) -> int:
        return sum([blob.size_bytes async for blob in self.blobs.list("default")])


@pytest.fixture
async def backlog(tmp_path: Path, index_folder: Path) -> AsyncIterator[Backlog]:
    async with deployed(tmp_path, index_folder=index_folder) as deployment:
        for spec in collections().values():
            await deployment.index.ensure(spec)
        backlog = Backlog(deployment)
        clock = backlog.clock
        log = SqliteTransport(
            tmp_path / "clocked.sqlite", LogSettings(), boot=lambda: 1000 + clock.monotonic(), wall=clock.now
        )
        await log.open()
        await log.create(declared())
        backlog.deployment = replace(deployment, transport=log)
        yield backlog
        await log.close()


@pytest.mark.parametrize("has_points", [True, False])
async def test_a_limit_holds_at_once_for_what_is_finished(backlog: Backlog, has_points: bool) -> None:  # noqa: FBT001
    events = [await backlog.accept(number) for number in range(20)]
    await backlog.finish(events, has_points=has_points)
    await backlog.commit()
    trimmer = backlog.trimmer(StorageSettings(picture_bytes=8 * EACH))
    with capture_logs() as lines:
        removed = await trimmer.run()
    assert await backlog.used() <= 8 * EACH
    assert await backlog.left() == uris(events[-7:])  # a little more than has to go, and thumbnails with originals
    assert not {backlog.thumbnails[event.id] for event in events[:-8]} & {
        blob.uri async for blob in backlog.blobs.list("default")
    }
    assert removed.points == (13 if has_points else 0)
    assert not [line for line in lines if line["event"] == "storage_over_limit"]


async def test_a_backlog_makes_room_as_it_is_finished(backlog: Backlog) -> None:
    events = [await backlog.accept(number) for number in range(20)]
    trimmer = backlog.trimmer(StorageSettings(picture_bytes=5 * EACH))
    await trimmer.run()
    assert await backlog.left() == uris(events)
    assert trimmer.waits
    for done in (6, 14):
        await backlog.finish(events[max(0, done - 8) : done])
        await backlog.commit(events[:done])
        await trimmer.run(least_pause_seconds=1.0)
        assert uris(events[done:]) <= await backlog.left()
    finished = len(await backlog.left()) - 6
    assert finished < 14
    await backlog.finish(events[14:])
    await backlog.commit()
    await trimmer.run(least_pause_seconds=0.0)
    assert await backlog.used() <= 5 * EACH
    assert not trimmer.waits


async def test_what_no_record_cites_stays_for_ten_minutes(backlog: Backlog) -> None:
    waiting = await backlog.put_original(0)
    accepted = [await backlog.accept(number) for number in range(1, 6)]
    await backlog.finish(accepted)
    await backlog.commit()
    trimmer = backlog.trimmer(StorageSettings(picture_bytes=1))
    await trimmer.run()
    assert await backlog.left() == uris([waiting])
    backlog.clock.advance(600)
    await trimmer.run()
    assert await backlog.left() == set()


async def test_the_same_picture_again_stays_for_the_frame_that_is_about_to_be_accepted(backlog: Backlog) -> None:
    """A camera without a signal sends one picture all the time; the record of the second frame waits for the log."""
    content = np.random.default_rng(0).bytes(SIZE)
    first = await backlog.accept(0, content=content)
    await backlog.finish([first])
    await backlog.commit()
    second = await backlog.put_original(1, content=content)
    trimmer = backlog.trimmer(StorageSettings(picture_bytes=1))
    await trimmer.run()
    assert await backlog.left() == uris([second])
    await backlog.deployment.publish([raw_record(second)])
    await trimmer.run(least_pause_seconds=0.0)
    assert await backlog.left() == uris([second])


async def test_a_thumbnail_stays_while_a_frame_of_the_same_picture_is_worked_on(backlog: Backlog) -> None:
    content = np.random.default_rng(0).bytes(SIZE)
    first = await backlog.accept(0, content=content)
    await backlog.finish([first], has_points=False)
    await backlog.commit()
    second = await backlog.accept(1, content=content)
    stored = {first.image.uri, backlog.thumbnails[first.id]}
    await backlog.trimmer(StorageSettings(picture_bytes=1)).run()
    assert {blob.uri async for blob in backlog.blobs.list("default")} == stored
    assert second.image.uri == first.image.uri


async def test_older_pictures_go_first_and_new_records_are_not_read_for_them(backlog: Backlog) -> None:
    old = [await backlog.accept(number) for number in range(6)]
    await backlog.finish(old)
    backlog.clock.advance(3600)
    new = [await backlog.accept(number) for number in range(10, 16)]
    await backlog.finish(new)
    await backlog.commit()
    trimmer = backlog.trimmer(StorageSettings(picture_bytes=8 * EACH))
    await trimmer.run()
    assert uris(new) <= await backlog.left()
    assert not trimmer._new.recent.originals


async def test_a_shortage_is_told_once_with_its_limits_and_causes(backlog: Backlog) -> None:
    kept, *others = [await backlog.accept(number) for number in range(4)]
    await backlog.finish([kept])
    await backlog.commit([kept])
    entry = Kept(frame=kept.id, tenant="default", feed="lobby", since=backlog.now, uris=(kept.image.uri,))
    await backlog.deployment.publish([kept_record(entry)])
    await backlog.put_original(9)
    trimmer = backlog.trimmer(StorageSettings(picture_bytes=2, feeds={"lobby": FeedStorage(bytes=1)}))
    numbers = itertools.count(100)
    with capture_logs() as lines:
        for _ in range(3):
            await trimmer.run(least_pause_seconds=0.0)
            await backlog.accept(next(numbers))
    (line,) = [line for line in lines if line["event"] == "storage_over_limit"]
    assert line["over"] == {
        "storage.feeds.lobby.bytes": 5 * SIZE + SMALL - 1,
        "storage.picture_bytes": 5 * SIZE + SMALL - 2,
    }
    assert line["staying_bytes"] == {"unfinished": 3 * SIZE, "new": SIZE, "kept": SIZE + SMALL}
    for words in ("sightline work", "ten minutes", "keep FRAME --undo", "raise storage.feeds.lobby.bytes"):
        assert words in line["remedy"]
    assert len(others) == 3


async def test_a_worker_looks_again_soon_while_frames_are_finished_and_at_its_end_at_once(backlog: Backlog) -> None:
    events = [await backlog.accept(number) for number in range(8)]
    here, metrics = backlog.deployment, Metrics(CollectorRegistry())
    backends = Backends(here.transport, here.index, backlog.blobs)
    spec = StorageSpec("default", StorageSettings(picture_bytes=3 * EACH))
    retry = worker_instruments(QUICK, metrics, backlog.clock).retry
    upkeep = make_upkeep(backends, spec, Plan((("decode",),)), "sightline", backlog.clock, retry, metrics)
    await upkeep.run()
    await backlog.finish(events[:2])
    await backlog.commit(events[:2])
    await upkeep.run()
    assert await backlog.left() == uris(events)
    backlog.clock.advance(HURRIED_SECONDS)
    await upkeep.run()
    assert await backlog.left() == uris(events[2:])
    await backlog.finish(events[2:])
    await backlog.commit()
    await upkeep.run_now()
    assert 0 < await backlog.used() <= 3 * EACH
    await backlog.finish([await backlog.accept(9)])
    await backlog.commit()
    await upkeep.run_now()
    assert 0 < await backlog.used() <= 3 * EACH
