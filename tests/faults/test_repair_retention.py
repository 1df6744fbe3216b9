"""A repair does not bring back what retention has taken, and makes whole what retention has spared."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

from schemas import topics
from schemas.retention import Kept, Trimmed
from streams.lifecycle.accepted_frames import feeds_of_accepted, taken_of_accepted
from streams.lifecycle.kept_frames import kept_record, trimmed_record
from streams.lifecycle.repair_plan import Circumstances, RepairPlan, plan_repair
from streams.lifecycle.stored_pictures import compare_pictures
from tests.faults.test_repair import known, points_of, whole
from tests.support.deployment import Deployment, deployed
from tests.support.edge_folder import edge_folder

NOW, LATER = datetime.now(UTC), datetime(2100, 1, 1, tzinfo=UTC)


async def took(here: Deployment, feed: str) -> None:
    await here.publish([trimmed_record(Trimmed(tenant="default", feed=feed, before=LATER))])


async def keep(here: Deployment, frame: str) -> None:
    await here.publish([kept_record(Kept(frame=frame, tenant="default", feed="shots", since=NOW))])


async def plan_for_lost_index(here: Deployment) -> RepairPlan:
    frames = await known(here)
    found = Circumstances(
        findings=await here.findings(),
        pictures=await compare_pictures(frames, here.blobs, ["default"]),
        accepted=await feeds_of_accepted(here.transport),
        index_was_lost=True,
        taken=await taken_of_accepted(here.transport),
    )
    return plan_repair(frames, found)


async def test_a_lost_index_and_an_expired_log_ask_for_no_ingest_of_what_retention_took(tmp_path: Path) -> None:
    with edge_folder(tmp_path / "index"):
        async with whole(tmp_path) as here:
            for topic in (topics.RAW, topics.ENRICHED):
                for partition, (_, end) in (await here.transport.ends(topic)).items():
                    await here.transport.cut(partition, end)
    shutil.rmtree(tmp_path / "index")
    with edge_folder(tmp_path / "index"):
        async with deployed(tmp_path, fresh=False) as here:
            shots = [frame for frame, (_, feed) in (await feeds_of_accepted(here.transport)).items() if feed == "shots"]
            assert (await plan_for_lost_index(here)).lost.keys() == set(shots)
            await took(here, "shots")
            assert not (await plan_for_lost_index(here)).lost
            await keep(here, shots[0])
            assert (await plan_for_lost_index(here)).lost.keys() == {shots[0]}


async def test_a_lost_index_gets_the_points_of_pictures_that_retention_spared(tmp_path: Path) -> None:
    with edge_folder(tmp_path / "index"):
        async with whole(tmp_path) as here:
            before = await points_of(here)
    shutil.rmtree(tmp_path / "index")
    with edge_folder(tmp_path / "index"):
        async with deployed(tmp_path, fresh=False) as here:
            frames = (await known(here)).frames
            taken, *spared = (frame for frame, entry in frames.items() if entry.feed == "shots" and frame in before)
            for feed in ("shots", "lobby"):
                await took(here, feed)
            await keep(here, spared[0])
            await here.blobs.delete("default", frames[taken].uri)
            plan = await plan_for_lost_index(here)
            assert plan.process.keys() == before.keys() - {taken}
            assert not plan.lost
            assert not plan.hopeless
