from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

from schemas import topics
from schemas.identity import frame_id
from stores.edge.settings import EdgeSettings
from stores.index import CollectionSpec, Point
from streams.lifecycle.dead_letters import DeadLetters
from streams.topic_reader import read_topic
from streams.transport import NewRecord
from tests.faults.erasing_suite import ErasingSuite, deletion, exists, states, work
from tests.support.deployment import Deployment, deployed, fated, identity, until
from tests.support.edge_folder import edge_folder
from tests.support.fault_stages import DIMENSION, commented
from tests.support.picture_headers import picture_headers
from tests.support.pictures import encoded, scene

NAME = "unmistakable-7f3a"
"""Stands in the record's headers, in the picture, and as a label in event and payload."""


class TestEmbedded(ErasingSuite):
    @pytest.fixture
    async def here(self, tmp_path: Path, index_folder: Path) -> AsyncIterator[Deployment]:
        async with deployed(tmp_path, index_folder=index_folder) as deployment:
            yield deployment

    async def test_a_deleted_frame_stays_deleted_when_its_record_comes_again(self, here: Deployment) -> None:
        """A producer sends its picture again, and a person replays a dead letter."""
        good, bad = fated("ok", number=1), fated("invalid", number=3)
        await here.publish([good, bad])
        await work(here)
        uris = [(await here.enriched())[identity(good)].image.uri, (await here.letters())[identity(bad)].uri]
        deleted = [identity(good), identity(bad)]
        await here.publish([deletion(frame) for frame in deleted])
        await work(here, until_erased=deleted)
        before = await states(here)

        await here.publish([good, bad])
        assert await DeadLetters(here.transport).choose() == []
        await work(here)
        assert await states(here) == before
        assert await here.index.count("frames-scripted") == 0
        await work(here, until_erased=deleted)
        for uri in uris:
            assert not await exists(here, uri)
        assert [record async for record in read_topic(here.transport, topics.RAW)] == []

    async def test_points_of_every_model_set_go(self, here: Deployment) -> None:
        former = CollectionSpec(name="frames-former", vectors={"semantic": DIMENSION}, payload={"frame": "keyword"})
        await here.index.ensure(former)
        frames = [frame_id("default", "lobby", name) for name in ("gone", "left")]
        vectors = {"semantic": np.ones(DIMENSION, np.float32)}
        await here.index.upsert(
            former.name, [Point(id=frame, vectors=vectors, payload={"frame": frame}) for frame in frames]
        )
        await here.publish([deletion(frames[0])])
        await work(here, until_erased=frames[:1])
        assert [hit.id for hit in await here.index.get(former.name, frames)] == frames[1:]
        await here.index.remove(former.name)

    async def test_a_deletion_erases_blobs_of_its_own_feed_only(self, here: Deployment) -> None:
        """A deletion that names another feed's blob does not remove it."""
        theirs = fated("ok", feed="gate", number=1)
        await here.publish([theirs])
        await work(here)
        image = (await here.enriched())[identity(theirs)].image
        mine = identity(fated("ok", number=2))
        await here.publish([deletion(mine, image.uri, image.thumbnail, "blob:default/lobby/../../etc", "no blob")])
        await work(here, until_erased=[mine])
        assert await exists(here, image.uri)
        assert await exists(here, image.thumbnail)


def traces(folder: Path, **wanted: bytes) -> dict[str, list[str]]:
    """The files below `folder` that hold any of these bytes."""
    found: dict[str, list[str]] = {}
    for parent, _, names in os.walk(folder):  # a rebuild of the index removes folders meanwhile
        for path in (Path(parent, name) for name in names):
            with suppress(OSError):  # gone, or a socket
                held = path.read_bytes()
                for name in (name for name, it in wanted.items() if it in held):
                    found.setdefault(name, []).append(str(path.relative_to(folder)))
    return found


async def test_no_byte_of_an_erased_frame_is_left_in_any_file(tmp_path: Path) -> None:
    """After the purge of the index and one pass of the log's retention: minutes in a deployment."""
    picture = commented(encoded(scene(9, 320, 240)), f"{NAME}#1")
    headers = picture_headers("/tests/lobby", f"{NAME}-1", content_type="image/jpeg", kind="still")
    victim, other = NewRecord(topics.RAW, b"1", picture, headers), fated("ok", number=2)
    quick = EdgeSettings(idle_seconds=5.0, purge_seconds=0.1, purge_share=1.0)
    with edge_folder(tmp_path / "index"):
        async with deployed(tmp_path, index_settings=quick) as here:
            await here.publish([victim, other])
            await work(here)
            frame, event = identity(victim), (await here.enriched())[identity(victim)]
            (hit,) = await here.index.get("frames-scripted", [frame], with_vectors=["semantic"])
            thumbnail = await here.blobs.get("default", event.image.thumbnail)
            wanted = {
                "picture": picture[len(picture) // 2 :][:48],
                "thumbnail": thumbnail[len(thumbnail) // 2 :][:48],
                "words": NAME.encode(),
                "vector": hit.vectors["semantic"],
            }
            assert traces(tmp_path, **wanted).keys() == wanted.keys()

            await here.publish([deletion(frame)])
            await work(here, until_erased=[frame])

            async def gone() -> bool:
                await here.transport.drop_old()
                return not traces(tmp_path, id_in_index=UUID(frame).bytes, **wanted)

            await until(gone)
            # A file that was renamed during the look is found by the second.
            assert await gone()
            assert [hit.id for hit in await here.index.get("frames-scripted", [frame, identity(other)])] == [
                identity(other)
            ]
