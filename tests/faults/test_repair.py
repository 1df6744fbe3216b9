"""What is lost or damaged is made again from what is there; erased frames stay erased, dead ones dead."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from schemas import topics
from schemas.events import Deletion
from stores.blobs import blob_uri, sha256_hex
from stores.index import Filter, Match, Point
from streams.backends import Backends
from streams.clock import SystemClock
from streams.lifecycle.accepted_frames import feeds_of_accepted
from streams.lifecycle.deletions import deletion_record
from streams.lifecycle.known_frames import KnownFrames, known_frames
from streams.lifecycle.repair import Repair
from streams.lifecycle.repair_plan import Circumstances, RepairPlan, plan_repair
from streams.lifecycle.stored_pictures import compare_pictures
from streams.sources.images import from_folder
from streams.sources.ingest import IngestSettings, ingest
from streams.sources.ingest_counts import Summary
from tests.support.deployment import (
    FRAMES,
    PICTURE,
    Deployment,
    collections,
    deployed,
    fated,
    identity,
    running,
    until,
)
from tests.support.edge_folder import edge_folder
from tests.support.fault_stages import EMBEDDING_STAGES, Fate, Vectors, commented
from tests.support.pictures import START

COLLECTION = collections()[FRAMES].name
GROUP = "sightline.fate"
INVALID = fated("invalid")
ERASED = fated("ok", number=100)


async def work(here: Deployment) -> None:
    async with running(here.worker([Fate(), Vectors()])) as task:
        await until(lambda: here.drained(group=GROUP), task)


def pictures(folder: Path, count: int = 3) -> Path:
    shots = folder / "shots"
    shots.mkdir(exist_ok=True)
    for number in range(count):
        (shots / f"{number}.jpg").write_bytes(commented(PICTURE, f"ok#{number}"))
    return shots


async def ingested(here: Deployment, shots: Path, *, inline_limit_bytes: int = 0) -> Summary:
    return await ingest(
        from_folder(shots),
        transport=here.transport,
        blobs=here.blobs,
        tenant="default",
        feed="shots",
        clock=SystemClock(),
        settings=IngestSettings(inline_limit_bytes=inline_limit_bytes),
    )


@asynccontextmanager
async def whole(folder: Path) -> AsyncIterator[Deployment]:
    """Three pictures of a folder, two of another producer, a dead one and an erased one; all processed."""
    async with deployed(folder) as here:
        await ingested(here, pictures(folder))
        await here.publish([fated("ok"), fated("ok", number=1), INVALID, ERASED])
        await work(here)
        requested = datetime.now(UTC)
        deletion = Deletion(frame=identity(ERASED), tenant="default", feed="lobby", requested=requested)
        await here.publish([deletion_record(deletion)])
        await here.index.delete(COLLECTION, Filter(must=(Match(field="frame", any_of=(deletion.frame,)),)))
        yield here


async def points_of(here: Deployment) -> Mapping[str, bytes]:
    hits, _ = await here.index.scroll(COLLECTION, limit=100)
    found = await here.index.get(COLLECTION, [hit.id for hit in hits], with_vectors=["semantic"])
    return {hit.id: hit.vectors["semantic"] for hit in found}


async def known(here: Deployment) -> KnownFrames:
    return await known_frames(
        here.transport, here.index, embedding_stages=EMBEDDING_STAGES, groups={GROUP: [topics.RAW]}
    )


async def planned(here: Deployment, *, deep: bool = False) -> RepairPlan:
    lost_index = COLLECTION not in await here.index.collections()
    frames = await known(here)
    found = Circumstances(
        findings=await here.findings(),
        pictures=await compare_pictures(frames, here.blobs, ["default"], deep=deep),
        accepted=await feeds_of_accepted(here.transport),
        index_was_lost=lost_index,
    )
    return plan_repair(frames, found)


async def repair(here: Deployment, *, deep: bool = False) -> RepairPlan:
    plan = await planned(here, deep=deep)
    work = Repair(
        Backends(here.transport, here.index, here.blobs), SystemClock(), lambda _: None, lambda _, done, total: None
    )
    await work.carry_out(plan)
    assert not work.failed
    return plan


def copied(folder: Path, to: Path, *parts: str) -> None:
    """Copy parts of a data folder that no process has open."""
    for part in parts:
        source, target = folder / part, to / part
        if source.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.sock", "index.sock*"))
        else:
            for path in (*to.glob(f"{part}*"),):
                path.unlink()
            for path in folder.glob(f"{part}*"):
                shutil.copy(path, to / path.name)


async def test_points_of_a_lost_index_are_made_again(tmp_path: Path) -> None:
    with edge_folder(tmp_path / "index"):
        async with whole(tmp_path) as here:
            before = await points_of(here)
            assert len(before) == 5
    shutil.rmtree(tmp_path / "index")
    with edge_folder(tmp_path / "index"):
        async with deployed(tmp_path, fresh=False) as here:
            first = await repair(here)
            assert first.counts == {"frames_to_process": 5}
            again = await planned(here)
            assert again.counts == {}, "what is on its way is not put on the log twice"
            await work(here)
            assert await points_of(here) == before
            assert (await here.findings()).kept
            assert (await planned(here)).counts == {}


async def test_an_older_index_beside_a_newer_log(tmp_path: Path) -> None:
    older = tmp_path / "older"
    older.mkdir()
    with edge_folder(tmp_path / "index"):
        async with whole(tmp_path):
            pass
    copied(tmp_path, older, "index")
    with edge_folder(tmp_path / "index"):
        async with deployed(tmp_path, fresh=False) as here:
            await here.publish([fated("ok", number=number) for number in range(10, 13)])
            await work(here)
            before = await points_of(here)
    copied(older, tmp_path, "index")
    with edge_folder(tmp_path / "index"):
        async with deployed(tmp_path, fresh=False) as here:
            assert len((await here.findings()).points_missing) == 3
            assert (await repair(here)).counts == {"frames_to_process": 3}
            await work(here)
            assert await points_of(here) == before
            assert (await here.findings()).kept


async def test_an_older_log_beside_a_newer_index(tmp_path: Path) -> None:
    older = tmp_path / "older"
    older.mkdir()
    with edge_folder(tmp_path / "index"):
        async with whole(tmp_path):
            pass
    copied(tmp_path, older, "log.sqlite")
    shots = pictures(tmp_path, 6)
    with edge_folder(tmp_path / "index"):
        async with deployed(tmp_path, fresh=False) as here:
            assert (await ingested(here, shots)).accepted == 3
            await here.publish([fated("ok", number=10)])
            await work(here)
            before = await points_of(here)
            assert len(before) == 9
    copied(older, tmp_path, "log.sqlite")
    with edge_folder(tmp_path / "index"):
        async with deployed(tmp_path, fresh=False) as here:
            plan = await repair(here)
            assert plan.counts == {"frames_to_process": 4, "frames_listed_as_accepted": 4}
            await work(here)
            assert (await here.findings()).kept
            assert await points_of(here) == before
            assert (await ingested(here, shots)).repeated == 6
            assert (await planned(here)).counts == {}


async def test_a_lost_log_is_made_again_from_points_and_pictures(tmp_path: Path) -> None:
    with edge_folder(tmp_path / "index"):
        async with whole(tmp_path) as here:
            before = await points_of(here)
    for path in tmp_path.glob("log.sqlite*"):
        path.unlink()
    with edge_folder(tmp_path / "index"):
        async with deployed(tmp_path, fresh=False) as here:
            assert (await repair(here)).counts == {"frames_to_process": 5, "frames_listed_as_accepted": 5}
            await work(here)
            assert await points_of(here) == before
            assert len(await here.enriched()) == 5
            assert (await ingested(here, tmp_path / "shots")).repeated == 3


async def test_lost_and_damaged_originals(tmp_path: Path, index_folder: Path) -> None:
    async with deployed(tmp_path, index_folder=index_folder) as here:
        shots = pictures(tmp_path)
        await ingested(here, shots)
        await here.publish([fated("ok"), INVALID])
        await work(here)
        events = await here.enriched()
        paths = {frame: tmp_path / "blobs" / event.image.uri.removeprefix("blob:") for frame, event in events.items()}
        kept = {frame: path.read_bytes() for frame, path in paths.items()}
        foreign = identity(fated("ok"))
        own = sorted(paths.keys() - {foreign})
        paths[foreign].unlink()
        paths[own[0]].unlink()
        paths[own[1]].write_bytes(kept[own[1]][:-9] + b"flipped!!")
        plan = await repair(here, deep=True)
        assert plan.counts == {"originals_from_the_log": 1, "originals_to_ingest_again": 2}
        assert paths[foreign].read_bytes() == kept[foreign]
        again = await ingested(here, shots)
        assert (again.accepted, again.restored, again.repeated) == (0, 2, 1)
        assert {frame: path.read_bytes() for frame, path in paths.items()} == kept
        assert (await planned(here, deep=True)).counts == {}


async def test_a_picture_without_a_record_is_a_fault_once_newer_records_are_there(
    tmp_path: Path, index_folder: Path
) -> None:
    """Before, its record may be on its way; and a backup has pictures that are newer than its log."""
    async with deployed(tmp_path, index_folder=index_folder) as here:
        uri = blob_uri("default", "lobby", START.date(), sha256_hex(PICTURE))
        await here.blobs.put("default", uri, PICTURE)
        await here.publish([fated("ok")])
        assert (await compare_pictures(await known(here), here.blobs, ["default"])).uncited == []
        path = tmp_path / "blobs" / uri.removeprefix("blob:")
        os.utime(path, (time.time() - 3600,) * 2)
        assert (await compare_pictures(await known(here), here.blobs, ["default"])).uncited == [uri]


async def test_points_of_dead_and_erased_frames_are_deleted(tmp_path: Path) -> None:
    with edge_folder(tmp_path / "index"):
        async with whole(tmp_path) as here:
            before = await points_of(here)
            hits = await here.index.get(COLLECTION, list(before), with_vectors=["semantic"])
            vectors = {"semantic": np.frombuffer(hits[0].vectors["semantic"], "<f4")}
            for frame in (identity(INVALID), identity(ERASED)):
                await here.index.upsert(COLLECTION, [Point(id=frame, vectors=vectors, payload={"frame": frame})])
            plan = await repair(here)
            assert plan.counts == {"points_deleted": 2}
            assert await points_of(here) == before
            assert (await here.findings()).kept


def interrupt(_what: str, _done: int, _total: int) -> None:
    raise KeyboardInterrupt


async def test_an_interrupted_repair_goes_on(tmp_path: Path) -> None:
    with edge_folder(tmp_path / "index"):
        async with whole(tmp_path) as here:
            before = await points_of(here)
            await here.index.delete(COLLECTION, Filter())
            plan = await planned(here)
            backends = Backends(here.transport, here.index, here.blobs)
            with pytest.raises(KeyboardInterrupt):
                await Repair(backends, SystemClock(), lambda _: None, interrupt).carry_out(plan)
            await repair(here)
            await work(here)
            assert await points_of(here) == before
