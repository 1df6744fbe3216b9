"""The contract of sources. A source's test class subclasses `SourceSuite`.

Ingests run against the real embedded log and blob folder.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from schemas import topics
from schemas.codec import decode_frame
from schemas.events import FrameEvent
from schemas.identity import frame_id, partition_key, still_key
from schemas.pictures import picture_format
from stores.blobs import sha256_hex
from stores.folder import BlobFolder
from streams.clock import SystemClock
from streams.sources.ingest import IngestSettings, ingest
from streams.sources.ingest_counts import Summary
from streams.sources.source import Offer, Picture, Refusal, Repeated, Seen, Source, UnreadableSource
from streams.sqlite.transport import SqliteTransport
from streams.transport import NewRecord, TopicSpec

TENANT, FEED = "default", "lobby"


class Killed(Exception):  # noqa: N818 - named for the event
    """Stands for the death of the process: nothing happens after it."""


class DyingLog(SqliteTransport):
    """The real log without atomic writes (`atomic` is False). The process dies after `lives` of them."""

    atomic = False
    lives = 10**9

    async def publish(self, records: Sequence[NewRecord]) -> None:
        if self.lives == 0:
            raise Killed
        self.lives -= 1
        await super().publish(records)


@dataclass
class IngestTarget:
    """An embedded log with all topics, and a blob folder."""

    log: DyingLog
    blobs: BlobFolder

    async def ingest(self, source: Source, *, batch_frames: int = 64) -> Summary:
        return await ingest(
            source,
            transport=self.log,
            blobs=self.blobs,
            tenant=TENANT,
            feed=FEED,
            clock=SystemClock(),
            settings=IngestSettings(batch_frames=batch_frames),
        )

    async def events(self) -> list[FrameEvent]:
        """The events on `frames.raw`, partition by partition."""
        events = []
        for partition, (first, end) in (await self.log.ends(topics.RAW)).items():
            records = await self.log.read(partition, first, max(end - first, 1))
            for record in records:
                event = decode_frame(record.value, record.headers).event
                key = still_key(event.id) if event.kind == "still" else partition_key(TENANT, FEED)
                assert record.key == key
                events.append(event)
        return events


@asynccontextmanager
async def ingest_target(folder: Path) -> AsyncIterator[IngestTarget]:
    log, blobs = DyingLog(folder / "log.sqlite"), BlobFolder(folder / "blobs")
    await log.open()
    try:
        declared = topics.declared(partitions=3)
        await log.create(
            [
                TopicSpec(t.name, t.partitions, t.compacted, t.retention_seconds, t.retention_bytes, t.max_record_bytes)
                for t in declared
            ]
        )
        yield IngestTarget(log, blobs)
    finally:
        await log.close()
        await blobs.close()


async def offers_of(source: Source, seen: Seen = lambda _: False) -> list[Offer]:
    async with aclosing(source.offers(seen)) as offers:
        return [offer async for offer in offers]


def pictures(offers: Sequence[Offer]) -> list[Picture]:
    return [offer for offer in offers if isinstance(offer, Picture)]


class SourceSuite:
    """Subclasses make their source, of at least six pictures, and sources that cannot be read."""

    def source(self, folder: Path, *, limit: int | None = None) -> Source:
        """A new source of the same `expected` pictures with every call."""
        raise NotImplementedError

    expected: int

    def unreadable(self, folder: Path) -> dict[str, Source]:
        """Sources that cannot be read, by the path or pattern that the error must contain."""
        raise NotImplementedError

    async def test_every_reading_gives_the_same_pictures_and_positions(self, tmp_path: Path) -> None:
        first, second = [await offers_of(self.source(tmp_path)) for _ in range(2)]
        assert first == second
        positions = [picture.position for picture in pictures(first)]
        assert len(positions) == len(set(positions)) == self.expected

    async def test_pictures_have_the_format_and_size_that_they_declare(self, tmp_path: Path) -> None:
        for picture in pictures(await offers_of(self.source(tmp_path))):
            pixels = cv2.imdecode(np.frombuffer(picture.content, np.uint8), cv2.IMREAD_COLOR)
            assert pixels is not None
            assert picture_format(picture.content) == picture.format
            assert picture.width in (0, pixels.shape[1])
            assert picture.height in (0, pixels.shape[0])

    async def test_a_limit_takes_the_first_ones(self, tmp_path: Path) -> None:
        everything = pictures(await offers_of(self.source(tmp_path)))
        source = self.source(tmp_path, limit=3)
        assert pictures(await offers_of(source)) == everything[:3]
        assert await source.total() == 3

    async def test_the_total_is_about_right(self, tmp_path: Path) -> None:
        offers = await offers_of(self.source(tmp_path))
        total = await self.source(tmp_path).total()
        assert total is None or abs(total - len(offers)) <= 1

    async def test_what_was_accepted_before_is_offered_as_repeated(self, tmp_path: Path) -> None:
        everything = pictures(await offers_of(self.source(tmp_path)))
        known = {picture.position for picture in everything[::2]}
        again = await offers_of(self.source(tmp_path), known.__contains__)
        assert {offer.position for offer in again if isinstance(offer, Repeated)} == known
        assert pictures(again) == everything[1::2]

    async def test_closing_early_releases_threads(self, tmp_path: Path) -> None:
        async with aclosing(self.source(tmp_path).offers(lambda _: False)) as offers:
            await anext(offers)
        assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("source")]

    async def test_every_accepted_frame_is_on_the_log_and_its_original_in_the_store(self, tmp_path: Path) -> None:
        offered = {picture.position: picture for picture in pictures(await offers_of(self.source(tmp_path)))}
        async with ingest_target(tmp_path / "target") as target:
            summary = await target.ingest(self.source(tmp_path))
            events = await target.events()
            assert summary.accepted == len(events) == self.expected
            for event in events:
                content = offered[event.position].content
                assert event.id == frame_id(TENANT, FEED, event.position)
                assert await target.blobs.get(TENANT, event.image.uri) == content == event.image.inline
                assert event.image.sha256 == sha256_hex(content)

    async def test_a_second_ingest_adds_nothing(self, tmp_path: Path) -> None:
        async with ingest_target(tmp_path / "target") as target:
            first = await target.ingest(self.source(tmp_path))
            second = await target.ingest(self.source(tmp_path))
            assert (first.accepted, first.repeated) == (self.expected, 0)
            assert (second.accepted, second.repeated) == (0, self.expected)
            assert len(await target.events()) == self.expected

    @pytest.mark.parametrize("writes", [0, 1, 2, 3])
    async def test_an_ingest_after_a_kill_continues_and_loses_nothing(self, tmp_path: Path, writes: int) -> None:
        """Records and acceptance records are written in turn; only frames without an acceptance record repeat."""
        async with ingest_target(tmp_path / "target") as target:
            target.log.lives = writes
            with pytest.raises(Killed):
                await target.ingest(self.source(tmp_path), batch_frames=2)
            before = len(await target.events())
            target.log.lives = 10**9
            summary = await target.ingest(self.source(tmp_path))
            events = await target.events()
            unrecorded = before - summary.repeated
            assert len({event.id for event in events}) == self.expected
            assert len(events) == self.expected + unrecorded
            assert (unrecorded > 0) == (writes % 2 == 1)

    async def test_an_unreadable_source_raises_its_path_and_what_to_do(self, tmp_path: Path) -> None:
        async with ingest_target(tmp_path / "target") as target:
            for name, source in self.unreadable(tmp_path).items():
                with pytest.raises(UnreadableSource) as refused:
                    await target.ingest(source)
                assert name in str(refused.value)
                assert ";" in str(refused.value), "what to do stands after the semicolon"
            assert await target.events() == []


def refusals(offers: Sequence[Offer]) -> dict[str, str]:
    """File name → reason."""
    return {Path(offer.name).name: offer.reason for offer in offers if isinstance(offer, Refusal)}
