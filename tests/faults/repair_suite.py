"""What a repair makes again, on every log and every index. A subclass has the fixture `here`."""

from __future__ import annotations

from pathlib import Path

from processors.stages.decode import Decode, DecodeSettings
from schemas import topics
from sightline.config import Config
from sightline.wiring.thumbnails import thumbnail_maker
from streams.backends import Backends
from streams.clock import SystemClock
from streams.lifecycle.accepted_frames import feeds_of_accepted, taken_of_accepted
from streams.lifecycle.known_frames import known_frames
from streams.lifecycle.repair import Repair
from streams.lifecycle.repair_plan import Circumstances, RepairPlan, plan_repair
from streams.lifecycle.stored_pictures import compare_pictures
from streams.sources.images import from_folder
from streams.sources.ingest import IngestSettings, ingest
from tests.support.deployment import FRAMES, Deployment, collections, running, until
from tests.support.fault_stages import EMBEDDING_STAGES, Vectors, commented
from tests.support.pictures import encoded, scene

GROUP, PICTURES = "sightline.decode", 4
COLLECTION = collections()[FRAMES].name


async def ingested(here: Deployment) -> None:
    """Pictures that are larger than their thumbnails."""
    shots = here.folder / "shots"
    shots.mkdir()
    for number in range(PICTURES):
        (shots / f"{number}.jpg").write_bytes(commented(encoded(scene(number, 640, 480)), f"ok#{number}"))
    await ingest(
        from_folder(shots),
        transport=here.transport,
        blobs=here.blobs,
        tenant="default",
        feed="shots",
        clock=SystemClock(),
        settings=IngestSettings(inline_limit_bytes=0),
    )


async def work(here: Deployment) -> None:
    worker = here.worker([Decode(DecodeSettings()), Vectors()])
    async with running(worker) as task:
        await until(lambda: not worker.health.unready_reasons(), task)
        await until(lambda: here.drained(group=GROUP), task)


async def vectors(here: Deployment) -> dict[str, bytes]:
    hits, _ = await here.index.scroll(COLLECTION, limit=100)
    found = await here.index.get(COLLECTION, [hit.id for hit in hits], with_vectors=["semantic"])
    return {hit.id: hit.vectors["semantic"] for hit in found}


async def planned(here: Deployment) -> RepairPlan:
    known = await known_frames(
        here.transport, here.index, embedding_stages=EMBEDDING_STAGES, groups={GROUP: [topics.RAW]}
    )
    found = Circumstances(
        findings=await here.findings(),
        pictures=await compare_pictures(known, here.blobs, ["default"]),
        accepted=await feeds_of_accepted(here.transport),
        index_was_lost=COLLECTION not in await here.index.collections(),
        taken=await taken_of_accepted(here.transport),
    )
    return plan_repair(known, found)


async def thumbnails(here: Deployment) -> list[Path]:
    return sorted((here.folder / "blobs").rglob("*.thumb"))


class RepairSuite:
    async def test_a_lost_index_and_lost_thumbnails_are_made_again(self, here: Deployment) -> None:
        await ingested(here)
        await work(here)
        before, small = await vectors(here), {path: path.read_bytes() for path in await thumbnails(here)}
        assert len(small) == PICTURES
        assert len(before) == PICTURES
        assert (await planned(here)).counts == {}
        for name in await here.index.collections():
            await here.index.remove(name)
        for path in list(small)[:2]:
            path.unlink()
        plan = await planned(here)
        assert plan.counts == {"frames_to_process": PICTURES, "thumbnails": 2}
        backends = Backends(here.transport, here.index, here.blobs)
        repair = Repair(
            backends, SystemClock(), thumbnail_maker(Config(segments=(("decode",),))), lambda _, done, total: None
        )
        await repair.carry_out(plan)
        assert not repair.failed
        assert {path: path.read_bytes() for path in await thumbnails(here)} == small
        await work(here)
        assert await vectors(here) == before
        assert (await here.findings()).kept
        assert (await planned(here)).counts == {}
