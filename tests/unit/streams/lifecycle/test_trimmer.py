"""Retention of pictures and points over a real log, index and folder: what goes, what stays, and in which order."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from schemas import codec, points, topics
from schemas.cloudevents import RAW_TYPE, frame_headers
from schemas.events import FrameEvent
from schemas.retention import Kept
from stores.blobs import THUMBNAIL, blob_path, blob_uri, sha256_hex
from stores.edge.disk_use import IndexUse, folder_bytes, index_use
from stores.folder import BlobFolder
from stores.index import Point
from streams.backends import Backends
from streams.clock import ManualClock
from streams.lifecycle.check import AcceptedFrame, Snapshot, TerminalState, judge
from streams.lifecycle.kept_frames import Retained, TrimmedFeeds, kept_record
from streams.lifecycle.orphans import Orphans
from streams.lifecycle.picture_removal import PictureRemoval, Removed
from streams.lifecycle.storage_settings import FeedStorage, StorageSettings
from streams.lifecycle.stored_bytes import StoredBytes
from streams.lifecycle.trimmer import Trimmer
from streams.lifecycle.unfinished_blobs import UnfinishedBlobs
from streams.metrics import Metrics
from streams.transport import NewRecord, Partition, Transport
from streams.worker.instruments import worker_instruments
from tests.support.deployment import QUICK, Deployment, collections, declared, deployed
from tests.support.events import frame_event
from tests.support.fault_stages import DIMENSION
from tests.support.sqlite_logs import Clock, Logs

FIRST = datetime(2026, 11, 1, tzinfo=UTC)
READERS = {"sightline.decode": topics.RAW}
SIZE, SMALL = 8192, 4096
"""Whole blocks of the disk: of these the limit is made."""


@dataclass
class Retention:
    """A deployment with one picture an hour of each feed."""

    deployment: Deployment
    clock: ManualClock = field(default_factory=lambda: ManualClock(FIRST.timestamp()))

    @property
    def blobs(self) -> BlobFolder:
        return BlobFolder(self.deployment.folder / "blobs", wall=self.clock.now)

    def trimmer(self, storage: StorageSettings, transport: Transport | None = None) -> Trimmer:
        here = self.deployment
        backends = Backends(transport or here.transport, here.index, self.blobs)
        retry = worker_instruments(QUICK, Metrics(CollectorRegistry()), self.clock).retry
        removal = PictureRemoval(backends, "default", UnfinishedBlobs(here.transport, READERS))
        return Trimmer(backends, storage, StoredBytes(self.blobs, "default", self.clock), removal, retry, self.clock)

    async def add(self, number: int, feed: str = "lobby", *, finished: bool = True, caption: str = "") -> FrameEvent:
        """One frame: picture, thumbnail, its point and a region's; and its record, finished or not."""
        content = np.random.default_rng((number, len(feed))).bytes(SIZE)
        event = frame_event(f"{feed}:{number}", content, feed=feed, ingested=self.now, inline=False)
        thumbnail = event.image.uri + THUMBNAIL
        await self.blobs.put("default", event.image.uri, content)
        await self.blobs.put("default", thumbnail, content[:SMALL])
        if finished:
            payload = {
                "tenant": "default", "feed": feed, "frame": event.id, "ingested": self.now.isoformat(),
                "uri": event.image.uri, "thumbnail": thumbnail, "caption": caption,
            }  # fmt: skip
            vectors = {points.SEMANTIC: np.ones(DIMENSION, np.float32)}
            region = event.id[:-1] + ("0" if event.id[-1] != "0" else "1")
            for name, point in (("frames", event.id), ("regions", region)):
                collection = collections()[name].name
                await self.deployment.index.upsert(collection, [Point(id=point, vectors=vectors, payload=payload)])
        else:
            record = NewRecord(topics.RAW, b"key", codec.encode_frame(event), frame_headers(event, RAW_TYPE))
            await self.deployment.transport.publish([record])
        self.clock.advance(3600)
        return event

    async def put(self, content: bytes) -> str:
        """A picture without a record."""
        uri = blob_uri("default", "lobby", self.now.date(), sha256_hex(content))
        await self.blobs.put("default", uri, content)
        return uri

    def orphans(self, transport: Transport | None = None) -> Orphans:
        backends = Backends(transport or self.deployment.transport, self.deployment.index, self.blobs)
        return Orphans(backends, self.clock)

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock.now(), UTC)

    async def left(self) -> set[str]:
        """Originals in the store; every point left cites one of them, with its thumbnail."""
        stored = {blob.uri async for blob in self.blobs.list("default")}
        owners = []
        for spec in collections().values():
            page, _ = await self.deployment.index.scroll(spec.name, limit=1000)
            assert all({hit.payload["uri"], hit.payload["thumbnail"]} <= stored for hit in page)
            owners.append({hit.payload["frame"] for hit in page})
        assert owners[0] == owners[1]
        return {uri for uri in stored if not uri.endswith(THUMBNAIL)}


@pytest.fixture(scope="module")
def index_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("index")


@pytest.fixture
async def retention(tmp_path: Path, index_folder: Path) -> AsyncIterator[Retention]:
    async with deployed(tmp_path, index_folder=index_folder) as deployment:
        for spec in collections().values():
            await deployment.index.ensure(spec)
        yield Retention(deployment)


def uris(events: Sequence[FrameEvent]) -> set[str]:
    return {event.image.uri for event in events}


async def test_pictures_go_with_their_points_once_they_are_old(retention: Retention) -> None:
    events = [await retention.add(number) for number in range(30)]
    trimmer = retention.trimmer(StorageSettings(log_hours=1, picture_hours=12.5))
    removed = await trimmer.run()
    assert await retention.left() == uris(events[-12:])
    assert (removed.blobs, removed.points, removed.size_bytes) == (36, 18, 18 * (SIZE + SMALL))
    trimmed = TrimmedFeeds(retention.deployment.transport)
    await trimmed.catch_up()
    assert trimmed.took("default", "lobby", events[17].ingested)
    assert not trimmed.took("default", "lobby", events[18].ingested)
    retained = Retained(retention.deployment.transport)
    why = await retained.why_missing("default", "lobby", events[0].id, events[0].ingested)
    assert why.startswith(f"retention removed the picture of frame {events[0].id}")
    assert await retained.why_missing("default", "lobby", events[29].id, events[29].ingested) == ""


async def test_the_oldest_go_first_until_all_feeds_fit_and_each_fits_its_own_limit(retention: Retention) -> None:
    each = SIZE + SMALL
    events: dict[str, list[FrameEvent]] = {"lobby": [], "gate": []}
    for number in range(20):
        for feed, own in events.items():
            own.append(await retention.add(number, feed))
    limits = StorageSettings(picture_bytes=16 * each, feeds={"gate": FeedStorage(bytes=5 * each)})
    await retention.trimmer(limits).run()
    left = await retention.left()
    assert left < uris(events["lobby"][-12:]) | uris(events["gate"][-5:])
    used = sum([blob.size_bytes async for blob in retention.blobs.list("default")])
    assert 14 * each <= used <= 16 * each
    assert uris(events["lobby"][-10:]) | uris(events["gate"][-4:]) <= left


async def test_kept_and_unfinished_frames_stay_and_what_was_put_just_now(retention: Retention) -> None:
    events = [await retention.add(number, finished=number != 3) for number in range(8)]
    kept = Kept(frame=events[1].id, tenant="default", feed="lobby", since=retention.now, uris=(events[1].image.uri,))
    await retention.deployment.transport.publish([kept_record(kept)])
    retention.clock.advance(-3600 + 60)
    trimmer = retention.trimmer(StorageSettings(picture_bytes=1))
    await trimmer.run()
    assert uris([events[1], events[3], events[7]]) == {
        uri for uri in await retention_originals(retention) if uri in uris(events)
    }
    assert events[1].id in await owners(retention)
    await retention.deployment.transport.publish([NewRecord(topics.KEPT, events[1].id.encode(), None, {})])
    await finish_everything(retention)
    retention.clock.advance(3600)
    await trimmer.run()
    assert await retention.left() == set()


async def test_listing_is_rare_and_deletions_are_accounted_for(retention: Retention) -> None:
    for number in range(6):
        await retention.add(number)
    trimmer = retention.trimmer(StorageSettings(picture_bytes=100 * SIZE))
    assert await trimmer.run() == Removed()
    assert trimmer.stored.total == 6 * (SIZE + SMALL)
    await retention.add(7)
    assert trimmer.stored.total == 6 * (SIZE + SMALL)
    await trimmer.run()
    assert trimmer.stored.total == 7 * (SIZE + SMALL)
    retention.clock.advance(30)
    assert not await trimmer.stored.refresh()


@pytest.mark.parametrize("seconds", [-1e7, 1e6])
async def test_a_folder_whose_files_have_other_times_loses_points_with_pictures(
    retention: Retention, seconds: float
) -> None:
    """As after a copy: the day in the name says when they were put, if not at which hour."""
    events = [await retention.add(number) for number in range(30)]
    async for blob in retention.blobs.list("default"):
        path = retention.deployment.folder / "blobs" / blob_path(blob.uri, "default")
        os.utime(path, (FIRST.timestamp() + seconds,) * 2)
    trimmer = retention.trimmer(StorageSettings(log_hours=1, picture_hours=12.5))
    await trimmer.run()
    assert uris(events[24:]) <= await retention.left()
    retention.clock.advance(8 * 3600)
    await trimmer.run()
    assert await retention.left() == uris(events[24:])


async def test_a_jump_of_the_clock_takes_no_picture(retention: Retention, tmp_path: Path) -> None:
    """By age none, and by size none that was put before it was noticed: all of them look old."""
    events, clock = [await retention.add(number) for number in range(6)], retention.clock
    wall, boot = Clock(clock.now()), Clock(1000.0)
    transport = await Logs(tmp_path / "other.sqlite", boot, wall).open()
    await transport.create(declared())
    await transport.publish([NewRecord(topics.DELETIONS, b"any", b"record")])
    trimmer = retention.trimmer(StorageSettings(log_hours=1, picture_hours=100, picture_bytes=1), transport)
    await transport.believes_clock()
    clock.advance(365 * 86_400)
    wall.seconds += 365 * 86_400
    assert await trimmer.run() == Removed()
    assert await retention.orphans(transport).remove() == 0
    assert await retention.left() == uris(events)
    for clocks in (wall, boot):
        clocks.seconds += 3600
    clock.advance(3600)
    assert (await trimmer.run()).points == 6
    await transport.close()


async def test_what_was_erased_has_made_room(retention: Retention) -> None:
    """Past days are not listed again every minute: their erased pictures would still count."""
    events = [await retention.add(number) for number in range(72)]
    trimmer = retention.trimmer(StorageSettings(picture_bytes=80 * (SIZE + SMALL)))
    assert await trimmer.run() == Removed()
    for event in events[10:40]:
        await retention.blobs.delete("default", event.image.uri)
    for number in range(100, 112):
        await retention.add(number)
    assert await trimmer.run() == Removed()
    assert uris(events[:10]) <= await retention_originals(retention)


async def test_a_full_index_gives_up_the_oldest_pictures(retention: Retention) -> None:
    events = [await retention.add(number) for number in range(20)]
    trimmer = retention.trimmer(StorageSettings(index_bytes=1_000_000))
    await trimmer.run(IndexUse(400_000, 400_000, 500_000))
    assert len(await retention.left()) == 20
    retention.clock.advance(60)
    # What a rebuild takes has to find room as well, and what may be added until the next look: a quarter at most.
    await trimmer.run(IndexUse(1_000_000, 1_000_000, 1_000_000, shards_made=7))
    left = await retention.left()
    assert uris(events[-8:]) <= left <= uris(events[-9:])
    retention.clock.advance(120)
    not_purged = IndexUse(1_500_000, 1_000_000, 1_000_000, shards_made=8, oldest_unpurged=7)
    await trimmer.run(not_purged)  # its space comes back within minutes
    assert await retention.left() == left
    retention.clock.advance(60)
    purged = IndexUse(380_000, 380_000, 360_000, shards_made=8, oldest_unpurged=None)
    await trimmer.run(purged)
    assert await retention.left() == left
    retention.clock.advance(60)
    await trimmer.run(IndexUse(1_000_000, 1_000_000, 1_000_000, shards_made=9, oldest_unpurged=8))
    assert len(await retention.left()) < len(left)


async def test_a_thumbnail_that_was_put_later_goes_with_its_original(retention: Retention) -> None:
    """A worker puts it, after a backlog hours later: originals alone would go, and nothing shows the thumbnails."""
    events = [await retention.add(number) for number in range(8)]
    for event in events:
        await retention.blobs.put("default", event.image.uri + THUMBNAIL, bytes(SMALL))
    retention.clock.advance(3600)
    await retention.trimmer(StorageSettings(picture_bytes=5 * (SIZE + SMALL))).run()
    left = await retention.left()
    assert left <= uris(events[-5:])
    assert len(left) >= 4
    assert {blob.uri async for blob in retention.blobs.list("default")} == left | {uri + THUMBNAIL for uri in left}


async def test_a_limit_below_the_size_of_an_empty_index_does_not_take_every_picture(retention: Retention) -> None:
    for number in range(20):
        await retention.add(number)
    trimmer = retention.trimmer(StorageSettings(index_bytes=1_000_000))
    use = IndexUse(700_000, 700_000, 600_000, shards_made=7)
    await trimmer.run(use)
    left = await retention.left()
    assert 0 < len(left) < 40
    for shards_made in (8, 9):
        retention.clock.advance(60)
        await trimmer.run(use._replace(shards_made=shards_made))  # rebuilt, and no smaller
    assert await retention.left() == left


async def test_an_index_stays_within_its_limit_while_it_rebuilds_itself(
    retention: Retention, index_folder: Path
) -> None:
    """Points come until several times the limit was written; each time the index is rebuilt after it was trimmed."""
    limit, most = 3_500_000, 0
    trimmer = retention.trimmer(StorageSettings(index_bytes=limit))
    for number in range(40):
        await retention.add(number, caption=f"{number} " * 10_000)
        if number % 10 == 9:
            await trimmer.run(index_use(index_folder))
            async for _ in retention.deployment.index.compact():
                most = max(most, folder_bytes(index_folder))
    assert most <= limit
    assert len(await retention.left()) >= 15
    assert len(await retention.left()) < 35


async def test_what_comes_every_night_finds_room(retention: Retention) -> None:
    """A folder of pictures is ingested between two looks: the limit holds from the second night on."""
    limits, most = StorageSettings(picture_bytes=20 * (SIZE + SMALL)), list[int]()
    trimmer = retention.trimmer(limits)
    for night in range(8):
        for number in range(4):
            await retention.add(10 * night + number)
            retention.clock.advance(-3600 + 1)
        most.append(sum([blob.size_bytes async for blob in retention.blobs.list("default")]))
        for _ in range(2):
            retention.clock.advance(43_200)
            await trimmer.run()
    assert max(most) <= 20 * (SIZE + SMALL)
    assert min(most[-3:]) >= 18 * (SIZE + SMALL)


async def test_two_trimmers_at_once_do_no_harm(retention: Retention) -> None:
    events = [await retention.add(number) for number in range(12)]
    limits = StorageSettings(log_hours=1, picture_hours=6.5)
    first, second = retention.trimmer(limits), retention.trimmer(limits)
    await first.run()
    await second.run()
    assert await retention.left() == uris(events[-6:])


async def test_pictures_that_are_put_again_are_not_old(retention: Retention) -> None:
    event = await retention.add(0)
    await retention.add(1)
    content = await retention.blobs.get("default", event.image.uri)
    retention.clock.advance(20 * 3600)
    await retention.blobs.put("default", event.image.uri, content)
    retention.clock.advance(1000)
    await retention.trimmer(StorageSettings(log_hours=1, picture_hours=5)).run()
    assert event.image.uri in await retention_originals(retention)


async def test_a_picture_whose_record_waits_over_midnight_for_the_log_stays(retention: Retention) -> None:
    """It is put again every few minutes, under the day on which it was first put."""
    retention.clock.advance(24 * 3600 - 600)
    uri = await retention.put(b"waits")
    retention.clock.advance(1800)
    await retention.blobs.put("default", uri, b"waits")
    retention.clock.advance(60)
    trimmer = retention.trimmer(StorageSettings(picture_bytes=1))
    await trimmer.run()
    assert await retention_originals(retention) == {uri}
    retention.clock.advance(600)
    await trimmer.run()
    assert await retention_originals(retention) == set()


async def retention_originals(retention: Retention) -> set[str]:
    return {blob.uri async for blob in retention.blobs.list("default") if not blob.uri.endswith(THUMBNAIL)}


async def owners(retention: Retention) -> set[str]:
    page, _ = await retention.deployment.index.scroll(collections()["frames"].name, limit=1000)
    return {hit.payload["frame"] for hit in page}


async def finish_everything(retention: Retention) -> None:
    transport = retention.deployment.transport
    for partition, (_, end) in (await transport.ends(topics.RAW)).items():
        if end:
            await transport.cut(Partition(topics.RAW, partition.index), end)
    await transport.drop_old()


def test_limits_of_a_feed_override_the_time_of_all() -> None:
    settings = StorageSettings(log_hours=1, picture_hours=48, feeds={"gate": FeedStorage(hours=24)})
    assert (settings.hours_of("gate"), settings.hours_of("lobby")) == (24, 48)
    assert settings.limits_pictures
    assert not StorageSettings().limits_pictures


# Blobs that nothing cites


async def test_pictures_of_a_killed_ingest_go_after_a_day_and_no_others(
    retention: Retention,
) -> None:
    """The log began on the day before. What lies there since before the log may be another log's."""
    foreign = await retention.put(b"of an earlier log")
    retention.clock.advance(-retention.clock.now() + datetime.now(UTC).timestamp() - 2 * 86_400)
    logged = await retention.add(1, finished=False)
    retention.clock.advance(3 * 86_400)
    indexed = await retention.add(2)
    killed = await retention.put(b"killed")
    orphans = retention.orphans()
    assert await orphans.remove() == 0
    retention.clock.advance(3 * 86_400)
    assert await orphans.remove() == 1
    left = await retention_originals(retention)
    assert left == uris([logged, indexed]) | {foreign}
    assert killed not in left
    retention.clock.advance(3 * 86_400)
    assert await orphans.remove() == 0


async def test_many_pictures_without_a_record_mean_another_log_and_stay(retention: Retention) -> None:
    retention.clock.advance(-retention.clock.now() + datetime.now(UTC).timestamp() - 2 * 86_400)
    await retention.add(1, finished=False)
    retention.clock.advance(3 * 86_400)
    for number in range(101):
        await retention.put(f"picture {number}".encode())
    retention.clock.advance(3 * 86_400)
    assert await retention.orphans().remove() == 0
    assert len(await retention_originals(retention)) == 102


def test_a_point_that_retention_took_is_not_missing() -> None:
    states = [
        TerminalState(
            frame,
            "enriched",
            "default/lobby",
            0,
            offset,
            FIRST,
            frozenset({"embed"}),
            ingested=FIRST.replace(day=offset),
        )
        for offset, frame in enumerate(("taken", "lost"), start=1)
    ]
    before = {"default/lobby": FIRST.replace(day=2)}
    accepted = [AcceptedFrame(state.frame, state.feed, "still", 0, state.offset) for state in states]
    seen = Snapshot(accepted, states, frozenset(), {"frames-m": {}}, taken_before=before)
    assert judge(seen, embedding_stages={"embed"}).points_missing == ["lost"]
