"""Deleted frames leave no picture behind: whole workers on the embedded log, index and folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest

from processors.decode import Decode, DecodeSettings
from schemas import topics
from schemas.events import Deletion
from schemas.identity import frame_id
from stores.blobs import blob_uri, sha256_hex
from stores.errors import Missing
from stores.index import Point
from streams.checker import records
from streams.deadletters import DeadLetters
from streams.deletions import Deletions
from streams.erasing import deletion_record
from streams.step import AnyStage
from streams.transport import Outgoing
from tests.faults.rig import QUICK, Deployment, deployed, fated, identity, running, until
from tests.faults.stages import DIMENSION, Fate, Vectors
from tests.pictures import START

SETTINGS = msgspec.structs.replace(QUICK, watch_seconds=0.05)


@pytest.fixture
async def here(tmp_path: Path, index_folder: Path) -> AsyncIterator[Deployment]:
    async with deployed(tmp_path, index_folder=index_folder) as deployment:
        yield deployment


def same_picture(record: Outgoing, name: str) -> Outgoing:
    return Outgoing(record.topic, record.key, record.value, {**record.headers, "ce_id": name.encode()})


def deletion(frame: str, *uris: str) -> Outgoing:
    return deletion_record(Deletion(frame=frame, tenant="default", feed="lobby", requested=START, uris=uris))


async def work(here: Deployment, *, until_erased: Sequence[str] = ()) -> None:
    """A worker until nothing is left and the blobs of these frames are said to be erased."""
    stages: list[AnyStage] = [Decode(DecodeSettings()), Fate(), Vectors()]
    async with running(here.worker(stages, settings=SETTINGS)) as task:
        await until(lambda: here.drained(group="sightline.decode"), task)
        await until(lambda: erased(here, until_erased), task)


async def erased(here: Deployment, frames: Sequence[str]) -> bool:
    deletions = Deletions(here.transport)
    await deletions.catch_up()
    return all(frame in deletions and frame not in deletions.pending for frame in frames)


async def there(here: Deployment, uri: str) -> bool:
    assert uri
    try:
        return bool(await here.blobs.get("default", uri))
    except Missing:
        return False


async def test_originals_and_thumbnails_go_unless_another_frame_has_the_same_picture(here: Deployment) -> None:
    alone, first, bad = fated("ok", number=1), fated("ok", number=2), fated("invalid", number=3)
    second = same_picture(first, "second")
    await here.publish([alone, first, second, bad])
    await work(here)
    events, letters = await here.enriched(), await here.letters()
    own, common = events[identity(alone)].image, events[identity(first)].image
    assert events[identity(second)].image == common
    for uri in (own.uri, own.thumbnail, common.uri, letters[identity(bad)].uri):
        assert await there(here, uri)

    asked = [identity(record) for record in (alone, first, bad)]
    await here.publish([deletion(frame) for frame in asked])
    await work(here, until_erased=asked)
    for uri in (own.uri, own.thumbnail, letters[identity(bad)].uri):
        assert not await there(here, uri)
    assert await there(here, common.uri), "the second frame needs it"
    assert await there(here, common.thumbnail)

    await here.publish([deletion(identity(second))])
    await work(here, until_erased=[identity(second)])
    assert not await there(here, common.uri)
    assert not await there(here, common.thumbnail)
    assert (await here.findings()).kept


async def test_what_comes_again_is_not_raised_from_the_dead(here: Deployment) -> None:
    """A producer that sends its picture again, and a dead letter that somebody wants replayed."""
    good, bad = fated("ok", number=1), fated("invalid", number=3)
    await here.publish([good, bad])
    await work(here)
    uris = [(await here.enriched())[identity(good)].image.uri, (await here.letters())[identity(bad)].uri]
    asked = [identity(good), identity(bad)]
    await here.publish([deletion(frame) for frame in asked])
    await work(here, until_erased=asked)
    states = await said(here)

    await here.publish([good, bad])
    assert await DeadLetters(here.transport).choose() == []
    await work(here)
    assert await said(here) == states
    assert await here.index.count("frames-scripted") == 0
    for uri in uris:
        assert not await there(here, uri)


async def said(here: Deployment) -> int:
    """States on the topics."""
    return sum([1 for topic in (topics.ENRICHED, topics.DEAD) async for _ in records(here.transport, topic)])


async def test_points_tell_of_blobs_when_the_topics_have_forgotten(here: Deployment) -> None:
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
    asked = [frames["kept"], frames["gone"]]
    await here.publish([deletion(frame) for frame in asked])
    await work(here, until_erased=asked)
    assert await there(here, uris[kept])
    assert not await there(here, uris[gone])


async def test_a_deletion_reaches_its_own_feed_alone(here: Deployment) -> None:
    """Whoever may ask for a deletion may not have any blob removed by naming it."""
    theirs = fated("ok", feed="gate", number=1)
    await here.publish([theirs])
    await work(here)
    image = (await here.enriched())[identity(theirs)].image
    mine = identity(fated("ok", number=2))
    await here.publish([deletion(mine, image.uri, image.thumbnail, "blob:default/lobby/../../etc", "no blob")])
    await work(here, until_erased=[mine])
    assert await there(here, image.uri)
    assert await there(here, image.thumbnail)
