"""Dead letters as people handle them: filtered, replayed, dropped, deleted; and the checks of `sightline check`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest

from processors.stage import AnyStage
from schemas import cloudevents, codec, topics
from schemas.events import Deletion
from schemas.points import collection
from stores.index import Point
from streams.lifecycle.check import check
from streams.lifecycle.dead_letters import DeadLetters, LetterFilter
from streams.transport import NewRecord
from tests.support.deployment import FRAMES, MODEL_SET, QUICK, Deployment, deployed, fated, identity, running, until
from tests.support.fault_stages import DIMENSION, EMBEDDING_STAGES, Fate, Vectors
from tests.support.pictures import START

BAD = [fated("invalid", number=number) for number in range(3)]
UNREADABLE = NewRecord(topics.RAW, b"k", b"\xc1")


@pytest.fixture
async def here(tmp_path: Path, index_folder: Path) -> AsyncIterator[Deployment]:
    async with deployed(tmp_path, index_folder=index_folder) as deployment:
        await deployment.publish([*BAD, UNREADABLE, fated("ok")])
        await work(deployment)
        yield deployment


async def work(here: Deployment, group: str = "sightline.fate") -> None:
    stages: list[AnyStage] = [Fate(), Vectors()] if group.endswith("fate") else [Vectors()]
    async with running(here.worker(stages)) as task:
        await until(lambda: here.drained(group=group), task)


def point(name: str, frame: str) -> Point:
    return Point(id=name, vectors={"semantic": np.full(DIMENSION, 0.5, np.float32)}, payload={"frame": frame})


async def test_letters_are_filtered_by_reason_stage_time_and_frame(here: Deployment) -> None:
    letters = DeadLetters(here.transport)
    all_letters = await letters.choose()
    assert len(all_letters) == 4
    refused = await letters.choose(LetterFilter(reason="refused"))
    assert {entry.letter.id for entry in refused} == {identity(record) for record in BAD}
    assert [entry.letter.stage for entry in await letters.choose(LetterFilter(stage="codec"))] == ["codec"]
    first = all_letters[0].letter
    assert [entry.letter.id for entry in await letters.choose(LetterFilter(frames=(first.id,)))] == [first.id]
    assert await letters.choose(LetterFilter(until=first.died)) == []
    after_last = all_letters[-1].letter.died + timedelta(seconds=1)
    assert len(await letters.choose(LetterFilter(since=first.died, until=after_last))) == 4


async def test_a_replay_enriches_frames_and_takes_them_off_the_list(here: Deployment) -> None:
    letters = DeadLetters(here.transport)
    assert (await letters.replay(await letters.choose(LetterFilter(reason="refused")))).replayed == 3
    assert [entry.letter.stage for entry in await letters.choose()] == ["codec"]
    # the plan no longer has the stage that refused them; a new group reads the raw topic from the start
    await work(here, "sightline.embed")
    enriched = await here.enriched()
    assert {identity(record) for record in BAD} <= enriched.keys()
    found = await here.findings()
    assert (found.missing, found.points_of_dead, found.doubled) == ([], [], [])


async def test_a_frame_that_dies_again_is_on_the_list_again(here: Deployment) -> None:
    letters = DeadLetters(here.transport)
    await letters.replay(await letters.choose(LetterFilter(reason="refused")))
    await work(here)
    again = await letters.choose(LetterFilter(reason="refused"))
    assert {entry.letter.id for entry in again} == {identity(record) for record in BAD}
    assert (await here.findings()).kept


async def test_dropping_a_letter_leaves_a_newer_one_of_the_frame(here: Deployment) -> None:
    letters = DeadLetters(here.transport)
    old = await letters.choose(LetterFilter(reason="refused"))
    await letters.replay(old)
    await work(here)
    assert await letters.drop(old) == 3, "closing records of older letters are written too"
    assert len(await letters.choose(LetterFilter(reason="refused"))) == 3
    assert await letters.drop(await letters.choose()) == 4
    assert await letters.choose() == []


async def test_the_check_finds_every_breach_of_the_promise(here: Deployment) -> None:
    assert (await here.findings()).kept
    dead, lost = identity(BAD[0]), fated("ok", number=7)
    own = next(iter(await here.enriched()))
    twin = "00000000-0000-5000-8000-000000000001"
    stray = "00000000-0000-5000-8000-000000000002"
    await here.index.upsert(
        FRAMES,
        [
            point(dead, dead),
            point(twin, own),
            point(stray, stray),
        ],
    )
    await here.publish([lost])
    found = await here.findings()
    assert not found.kept
    assert found.missing == [identity(lost)]
    assert found.points_of_dead == [dead]
    assert found.doubled == [own]
    assert set(found.orphans) == {dead, stray}


async def test_a_missing_collection_counts_as_an_empty_one(here: Deployment) -> None:
    name = collection("frames", MODEL_SET)
    await here.index.remove(name)
    findings = await check(here.transport, here.index, [name], embedding_stages=EMBEDDING_STAGES)
    assert findings.points_missing == [identity(fated("ok"))]


def deletion(record: NewRecord) -> NewRecord:
    event = Deletion(frame=identity(record), tenant="default", feed="lobby", requested=START)
    headers = cloudevents.headers(
        cloudevents.DELETION_TYPE, tenant="default", feed="lobby", frame=event.frame, time=START
    )
    return NewRecord(topics.DELETIONS, event.frame.encode(), codec.encode_deletion(event), headers)


async def test_a_deleted_frame_has_no_points_no_event_and_no_letter(here: Deployment) -> None:
    """A frame that was indexed before, one that arrives afterwards, and a dead one that could be replayed."""
    indexed, later = fated("ok"), fated("ok", number=9)
    assert await here.index.count(FRAMES) == 1
    await here.publish([deletion(record) for record in (indexed, later, BAD[0])])
    await here.publish([later])
    settings = msgspec.structs.replace(QUICK, watch_seconds=0.05)
    async with running(here.worker([Fate(), Vectors()], settings=settings)) as task:
        await until(here.drained, task)
        assert identity(later) not in await here.enriched()
        assert identity(BAD[0]) not in {entry.letter.id for entry in await DeadLetters(here.transport).choose()}
        await until(lambda: no_points(here), task)
    assert (await here.findings()).kept


async def no_points(here: Deployment) -> bool:
    return await here.index.count(FRAMES) == 0
