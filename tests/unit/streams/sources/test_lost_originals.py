"""Frames whose originals are gone: an ingest writes lost ones again, under the same ids; retention's stay gone."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from schemas.events import Deletion, FrameEvent
from schemas.retention import Kept, Trimmed
from stores.errors import Missing
from streams.lifecycle.accepted_frames import LostOriginal, lost_record
from streams.lifecycle.deletions import deletion_record
from streams.lifecycle.kept_frames import kept_record, trimmed_record
from tests.contract.source_suite import FEED, TENANT, IngestTarget, ingest_target
from tests.unit.streams.sources.test_ingest import Listed, picture

NOW = datetime(2026, 11, 28, tzinfo=UTC)


async def accepted(target: IngestTarget) -> list[FrameEvent]:
    assert (await target.ingest(Listed([picture(1), picture(2), picture(3)]))).accepted == 3
    return await target.events()


async def mark(target: IngestTarget, event: FrameEvent, uri: str) -> None:
    await target.log.publish([lost_record(TENANT, LostOriginal(event.id, FEED, uri), NOW.timestamp())])


async def test_a_lost_original_is_written_again_and_nothing_is_processed_twice(tmp_path: Path) -> None:
    async with ingest_target(tmp_path) as target:
        lost, *_ = await accepted(target)
        await target.blobs.delete(TENANT, lost.image.uri)
        await mark(target, lost, lost.image.uri)
        again = await target.ingest(Listed([picture(1), picture(2), picture(3)]))
        assert (again.accepted, again.restored, again.repeated) == (0, 1, 2)
        assert len(await target.blobs.get(TENANT, lost.image.uri)) == lost.image.size_bytes
        assert len(await target.events()) == 3
        third = await target.ingest(Listed([picture(1), picture(2), picture(3)]))
        assert (third.restored, third.repeated) == (0, 3)


async def test_what_retention_took_is_counted_and_not_accepted_again(tmp_path: Path) -> None:
    async with ingest_target(tmp_path) as target:
        kept, *_ = await accepted(target)
        first, last = (datetime(year, 1, 1, tzinfo=UTC) for year in (2000, 2100))
        await target.log.publish([trimmed_record(Trimmed(tenant=TENANT, feed=FEED, before=first))])
        assert (await target.ingest(Listed([picture(1), picture(2)]))).taken == 0
        await target.log.publish([trimmed_record(Trimmed(tenant=TENANT, feed=FEED, before=last))])
        await target.log.publish([kept_record(Kept(frame=kept.id, tenant=TENANT, feed=FEED, since=NOW))])
        for _ in range(2):
            again = await target.ingest(Listed([picture(1), picture(2), picture(3)]))
            assert (again.accepted, again.repeated, again.taken) == (0, 3, 2)
        assert len(await target.events()) == 3


async def test_a_damaged_original_is_replaced(tmp_path: Path) -> None:
    async with ingest_target(tmp_path) as target:
        lost, *_ = await accepted(target)
        path = next(tmp_path.rglob(lost.image.sha256))
        path.write_bytes(path.read_bytes()[:-1])
        await mark(target, lost, lost.image.uri)
        assert (await target.ingest(Listed([picture(1)]))).restored == 1
        assert len(await target.blobs.get(TENANT, lost.image.uri)) == lost.image.size_bytes


async def test_a_frame_of_which_nothing_is_left_is_accepted_again_under_its_id(tmp_path: Path) -> None:
    async with ingest_target(tmp_path) as target:
        lost, *_ = await accepted(target)
        await mark(target, lost, "")
        again = await target.ingest(Listed([picture(1), picture(2)]))
        assert (again.accepted, again.restored, again.repeated) == (1, 0, 1)
        events = await target.events()
        assert [event.id for event in events].count(lost.id) == 2


async def test_an_erased_frame_is_not_restored(tmp_path: Path) -> None:
    async with ingest_target(tmp_path) as target:
        lost, *_ = await accepted(target)
        await target.blobs.delete(TENANT, lost.image.uri)
        await mark(target, lost, lost.image.uri)
        await target.log.publish([deletion_record(Deletion(frame=lost.id, tenant=TENANT, feed=FEED, requested=NOW))])
        again = await target.ingest(Listed([picture(1)]))
        assert (again.accepted, again.restored, again.forgotten) == (0, 0, 1)
        with pytest.raises(Missing):
            await target.blobs.get(TENANT, lost.image.uri)
