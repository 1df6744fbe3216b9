from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from streams.lifecycle.dead_letters import DeadLetters
from tests.faults.erasing_suite import ErasingSuite, deletion, exists, states, work
from tests.support.deployment import Deployment, deployed, fated, identity


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
        for uri in uris:
            assert not await exists(here, uri)

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
