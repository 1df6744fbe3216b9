"""The blobs of deleted frames are erased: two workers on every transport. A subclass has the fixture `here`."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from processors.stage import AnyStage
from processors.stages.decode import Decode, DecodeSettings
from schemas import topics
from schemas.events import Deletion
from schemas.identity import frame_id
from schemas.retention import Kept
from stores.blobs import blob_uri, sha256_hex
from stores.errors import Missing
from stores.index import Point
from streams.lifecycle.deletions import Deletions, deletion_record
from streams.lifecycle.kept_frames import kept_record
from streams.topic_reader import read_topic
from streams.transport import NewRecord
from streams.worker.worker import Worker
from tests.support.deployment import QUICK, Deployment, fated, identity, running, until
from tests.support.fault_stages import DIMENSION, Fate, Vectors
from tests.support.pictures import START

SETTINGS = msgspec.structs.replace(QUICK, watch_seconds=0.05)


def same_picture(record: NewRecord, name: str) -> NewRecord:
    return NewRecord(record.topic, record.key, record.value, {**record.headers, "ce_id": name.encode()})


def deletion(frame: str, *uris: str) -> NewRecord:
    return deletion_record(Deletion(frame=frame, tenant="default", feed="lobby", requested=START, uris=uris))


def worker(here: Deployment) -> Worker:
    stages: list[AnyStage] = [Decode(DecodeSettings()), Fate(), Vectors()]
    return here.worker(stages, settings=SETTINGS)


async def work(here: Deployment, *, until_erased: Sequence[str] = ()) -> None:
    """Run two workers until the log is processed and the blobs of `until_erased` are recorded as erased."""
    workers = worker(here), worker(here)
    async with running(workers[0]), running(workers[1]) as task:
        await until(lambda: not any(one.health.unready_reasons() for one in workers), task)
        await until(lambda: here.drained(group="sightline.decode"), task)
        await until(lambda: erased(here, until_erased), task)


async def erased(here: Deployment, frames: Sequence[str]) -> bool:
    deletions = Deletions(here.transport)
    await deletions.catch_up()
    return all(frame in deletions and frame not in deletions.pending for frame in frames)


async def exists(here: Deployment, uri: str) -> bool:
    assert uri
    try:
        return bool(await here.blobs.get("default", uri))
    except Missing:
        return False


async def states(here: Deployment) -> int:
    """The number of terminal states on the topics."""
    return sum([1 for topic in (topics.ENRICHED, topics.DEAD) async for _ in read_topic(here.transport, topic)])


class ErasingSuite:
    @pytest.fixture
    def here(self) -> Deployment:
        raise NotImplementedError

    async def test_originals_and_thumbnails_go_unless_another_frame_has_the_same_picture(
        self, here: Deployment
    ) -> None:
        alone, first, bad = fated("ok", number=1), fated("ok", number=2), fated("invalid", number=3)
        second = same_picture(first, "second")
        await here.publish([alone, first, second, bad])
        await work(here)
        events, letters = await here.enriched(), await here.letters()
        own, common = events[identity(alone)].image, events[identity(first)].image
        assert events[identity(second)].image == common
        for uri in (own.uri, own.thumbnail, common.uri, letters[identity(bad)].uri):
            assert await exists(here, uri)

        deleted = [identity(record) for record in (alone, first, bad)]
        await here.publish([deletion(frame) for frame in deleted])
        await work(here, until_erased=deleted)
        for uri in (own.uri, own.thumbnail, letters[identity(bad)].uri):
            assert not await exists(here, uri)
        assert await exists(here, common.uri), "the second frame needs it"
        assert await exists(here, common.thumbnail)

        await here.publish([deletion(identity(second))])
        await work(here, until_erased=[identity(second)])
        assert not await exists(here, common.uri)
        assert not await exists(here, common.thumbnail)
        assert (await here.findings()).kept

    async def test_points_name_the_blobs_of_frames_that_are_no_longer_on_the_topics(self, here: Deployment) -> None:
        kept, gone = b"kept", b"gone"
        uris = {content: blob_uri("default", "lobby", START.date(), sha256_hex(content)) for content in (kept, gone)}
        frames = {name: frame_id("default", "lobby", name) for name in ("kept", "gone", "other")}
        for content, uri in uris.items():
            await here.blobs.put("default", uri, content)
        await work(here)
        payloads = {"kept": uris[kept], "other": uris[kept], "gone": uris[gone]}
        vector = np.ones(DIMENSION, np.float32)
        await here.index.upsert(
            "frames-scripted",
            [
                Point(id=frames[name], vectors={"semantic": vector}, payload={"frame": frames[name], "uri": uri})
                for name, uri in payloads.items()
            ],
        )
        deleted = [frames["kept"], frames["gone"]]
        await here.publish([deletion(frame) for frame in deleted])
        await work(here, until_erased=deleted)
        assert await exists(here, uris[kept])
        assert not await exists(here, uris[gone])

    async def test_a_thumbnail_without_an_event_goes_and_a_kept_frame_keeps_its_picture(self, here: Deployment) -> None:
        """A worker was killed behind the thumbnail; the kept frame is neither on the log nor in the index any more."""
        contents = {name: name.encode() for name in ("killed", "kept")}
        uris = {name: blob_uri("default", "lobby", START.date(), sha256_hex(each)) for name, each in contents.items()}
        for name, uri in uris.items():
            await here.blobs.put("default", uri, contents[name])
            await here.blobs.put("default", f"{uri}.thumb", b"small")
        deleted = {name: frame_id("default", "lobby", name) for name in uris}
        other = Kept(frame=frame_id("default", "lobby", "other"), tenant="default", feed="lobby", since=START)
        await here.publish([kept_record(msgspec.structs.replace(other, uris=(uris["kept"],)))])
        await here.publish([deletion(frame, uris[name]) for name, frame in deleted.items()])
        await work(here, until_erased=[*deleted.values()])
        for uri in (uris["killed"], f"{uris['killed']}.thumb"):
            assert not await exists(here, uri)
        for uri in (uris["kept"], f"{uris['kept']}.thumb"):
            assert await exists(here, uri)
