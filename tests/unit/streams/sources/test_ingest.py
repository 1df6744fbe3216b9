"""A full log, an unavailable store, a slow log: nothing is lost, and every wait is reported."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from schemas import topics
from schemas.events import Kind
from stores.errors import StoreUnavailable
from stores.folder import BlobFolder
from streams.clock import ManualClock, SystemClock
from streams.errors import LogFull, PlanError, TooLarge
from streams.sources.ingest import IngestSettings, ingest
from streams.sources.ingest_counts import Progress, WaitLog
from streams.sources.offer_buffer import buffered
from streams.sources.source import Offer, Picture, Refusal, Seen
from streams.sqlite.transport import SqliteTransport
from streams.transport import NewRecord
from tests.contract.source_suite import FEED, TENANT, DyingLog, IngestTarget, ingest_target

DEADLINE_SECONDS = 30.0
JPEG = b"\xff\xd8\xff"


class Listed:
    """A source of the given offers; `reached` counts those that were taken."""

    kind: Kind = "still"
    repeatable = True

    def __init__(self, offers: Sequence[Offer], *, fails: Exception | None = None) -> None:
        self._offers = offers
        self._fails = fails
        self.reached = 0
        self.closed = False

    async def total(self) -> int | None:
        return len(self._offers)

    async def offers(self, seen: Seen) -> AsyncGenerator[Offer, None]:
        try:
            for offer in self._offers:
                yield offer
                self.reached += 1
            if self._fails is not None:
                raise self._fails
        finally:
            self.closed = True


def picture(number: int, size_bytes: int = 100) -> Picture:
    return Picture(f"still:{number}", JPEG + number.to_bytes(4, "big") + bytes(size_bytes - 7), "jpeg")


class Faulty(DyingLog):
    """The real log; it raises `faults` first."""

    atomic = True

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.faults: list[Exception] = []

    async def publish(self, records: Sequence[NewRecord]) -> None:
        if self.faults:
            raise self.faults.pop(0)
        await super().publish(records)


class FaultyFolder(BlobFolder):
    faults: list[Exception]

    async def put(self, tenant: str, uri: str, content: bytes) -> None:
        if self.faults:
            raise self.faults.pop(0)
        await super().put(tenant, uri, content)


async def test_a_full_log_and_an_unavailable_store_are_waited_for_and_reported(tmp_path: Path) -> None:
    clock, reports = ManualClock(), list[Progress]()
    async with ingest_target(tmp_path) as target:
        log = Faulty(tmp_path / "log.sqlite")
        log.faults = [LogFull("16 GiB"), LogFull("16 GiB")]
        blobs = FaultyFolder(tmp_path / "blobs")
        blobs.faults = [StoreUnavailable("the disk is unavailable")]
        await log.open()
        task = asyncio.create_task(
            ingest(
                Listed([picture(1), picture(2)]),
                transport=log,
                blobs=blobs,
                tenant=TENANT,
                feed=FEED,
                clock=clock,
                progress=reports.append,
            )
        )
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not task.done():
                await asyncio.wait([task], timeout=0.002)
                clock.advance(1.0 if clock.sleepers else 0.0)
        assert (await task).accepted == 2
        assert len(await target.events()) == 2
        waits = [progress.waiting_for for progress in reports if progress.waiting_for]
        assert waits == ["blobs: the disk is unavailable", "log: 16 GiB", "log: 16 GiB"]
        assert reports[-1].waiting_for == ""
        await log.close()
        await blobs.close()


async def test_cancelling_a_wait_ends_the_ingest_and_the_next_one_accepts_the_picture(tmp_path: Path) -> None:
    async with ingest_target(tmp_path) as target:
        log = Faulty(tmp_path / "log.sqlite")
        log.faults = [LogFull("full")] * 10
        await log.open()
        clock, source = ManualClock(), Listed([picture(1)])
        task = asyncio.create_task(
            ingest(source, transport=log, blobs=target.blobs, tenant=TENANT, feed=FEED, clock=clock)
        )
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not clock.sleepers:
                await asyncio.wait([task], timeout=0.002)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert source.closed
        assert (await target.ingest(Listed([picture(1)]))).accepted == 1
        await log.close()


class Held(DyingLog):
    """The real log; its publish waits for `proceed`, so that a test can cancel it in between."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.publishing, self.proceed = asyncio.Event(), asyncio.Event()

    async def publish(self, records: Sequence[NewRecord]) -> None:
        self.publishing.set()
        await self.proceed.wait()
        await super().publish(records)


async def test_cancelling_a_write_finishes_records_and_acceptance_record(tmp_path: Path) -> None:
    async with ingest_target(tmp_path) as target:
        log = Held(tmp_path / "log.sqlite")
        await log.open()
        task = asyncio.create_task(
            ingest(
                Listed([picture(1)]),
                transport=log,
                blobs=target.blobs,
                tenant=TENANT,
                feed=FEED,
                clock=SystemClock(),
            )
        )
        async with asyncio.timeout(DEADLINE_SECONDS):
            await log.publishing.wait()
        task.cancel()
        log.proceed.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(await target.events()) == 1
        assert (await target.ingest(Listed([picture(1)]))).repeated == 1
        await log.close()


async def test_only_small_originals_are_inline(tmp_path: Path) -> None:
    async with ingest_target(tmp_path) as target:
        source = Listed([picture(1, 600), picture(2, 1_400)])
        settings = IngestSettings(inline_limit_bytes=1_000)
        await ingest(
            source,
            transport=target.log,
            blobs=target.blobs,
            tenant=TENANT,
            feed=FEED,
            clock=SystemClock(),
            settings=settings,
        )
        events = {event.image.size_bytes: event for event in await target.events()}
        assert events[600].image.inline is not None
        assert events[1_400].image.inline is None
        assert len(await target.blobs.get(TENANT, events[1_400].image.uri)) == 1_400


async def test_a_record_too_large_for_its_topic_refers_to_its_original(tmp_path: Path) -> None:
    async with ingest_target(tmp_path) as target:
        log = Faulty(tmp_path / "log.sqlite")
        log.faults = [TooLarge("a topic with a smaller limit")]
        await log.open()
        await IngestTarget(log, target.blobs).ingest(Listed([picture(1)]))
        (event,) = await target.events()
        assert event.image.inline is None
        await log.close()


async def test_an_error_of_the_source_is_raised_after_its_offers_are_accepted(tmp_path: Path) -> None:
    async with ingest_target(tmp_path) as target:
        with pytest.raises(OSError, match="cable"):
            await target.ingest(Listed([picture(1), picture(2)], fails=OSError("cable")))
        assert len(await target.events()) == 2


async def test_progress_ends_with_everything_counted(tmp_path: Path) -> None:
    reports = list[Progress]()
    offers: list[Offer] = [picture(1), picture(2), picture(1), Refusal("x", "empty", "x: empty")]
    async with ingest_target(tmp_path) as target:
        summary = await ingest(
            Listed(offers),
            transport=target.log,
            blobs=target.blobs,
            tenant=TENANT,
            feed=FEED,
            clock=SystemClock(),
            progress=reports.append,
        )
    assert reports[-1] == Progress(done=4, total=4, accepted=2, repeated=0, refused=1)
    assert (summary.accepted, summary.repeated, summary.doubled, summary.refused) == (2, 0, 1, 1)


async def test_a_slow_log_holds_the_source_back() -> None:
    """Bytes are limited too, not only pictures: a folder of large stills must not fill the memory."""
    source = Listed([picture(number, 1_000) for number in range(100)])
    taken: list[int] = []
    async with buffered(source.offers(lambda _: False), max_offers=64, max_bytes=10_000) as buffer:
        while batch := await buffer.take():
            taken.append(len(batch))
            assert source.reached - sum(taken) <= 10
            for _ in range(50):
                await SystemClock().sleep(0)
            assert source.reached - sum(taken) <= 10
    assert sum(taken) == 100
    assert max(taken) == 10


async def test_backpressure_is_awaited_before_every_batch(tmp_path: Path) -> None:
    calls = 0

    async def room() -> None:
        nonlocal calls
        calls += 1

    async with ingest_target(tmp_path) as target:
        await ingest(
            Listed([picture(number) for number in range(6)]),
            transport=target.log,
            blobs=target.blobs,
            tenant=TENANT,
            feed=FEED,
            clock=SystemClock(),
            backpressure=room,
            settings=IngestSettings(batch_frames=2),
        )
    assert calls >= 3


async def test_wrong_names_and_missing_topics_are_reported_before_the_source_is_read(tmp_path: Path) -> None:
    source = Listed([picture(1)])
    log, blobs = SqliteTransport(tmp_path / "log.sqlite"), BlobFolder(tmp_path / "blobs")
    await log.open()

    async def into(feed: str) -> Any:
        return await ingest(source, transport=log, blobs=blobs, tenant=TENANT, feed=feed, clock=SystemClock())

    with pytest.raises(ValueError, match="feed"):
        await into("../lobby")
    with pytest.raises(PlanError, match=topics.ACCEPTED):
        await into("lobby")
    assert source.reached == 0
    await log.close()
    await blobs.close()


def test_without_a_progress_report_a_wait_is_logged_once_with_its_end() -> None:
    report = WaitLog(FEED)
    with capture_logs() as lines:
        for waiting_for in ("", "blobs: away", "blobs: away", "", ""):
            report(Progress(done=0, total=None, accepted=0, repeated=0, refused=0, waiting_for=waiting_for))
    assert [(line["event"], line["feed"], line.get("waiting_for")) for line in lines] == [
        ("ingest_waits", FEED, "blobs: away"),
        ("ingest_goes_on", FEED, None),
    ]
