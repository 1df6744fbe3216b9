from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from streams.lifecycle.dead_letters import DeadLetters
from tests.faults.erasing_suite import ErasingSuite, deletion, said, there, work
from tests.support.deployment import Deployment, deployed, fated, identity


class TestEmbedded(ErasingSuite):
    @pytest.fixture
    async def here(self, tmp_path: Path, index_folder: Path) -> AsyncIterator[Deployment]:
        async with deployed(tmp_path, index_folder=index_folder) as deployment:
            yield deployment

    async def test_what_comes_again_is_not_raised_from_the_dead(self, here: Deployment) -> None:
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

    async def test_a_deletion_reaches_its_own_feed_alone(self, here: Deployment) -> None:
        """A deletion that names another feed's blob does not remove it."""
        theirs = fated("ok", feed="gate", number=1)
        await here.publish([theirs])
        await work(here)
        image = (await here.enriched())[identity(theirs)].image
        mine = identity(fated("ok", number=2))
        await here.publish([deletion(mine, image.uri, image.thumbnail, "blob:default/lobby/../../etc", "no blob")])
        await work(here, until_erased=[mine])
        assert await there(here, image.uri)
        assert await there(here, image.thumbnail)
