"""Object-store prefixes as a source: on a real S3 server, and on a folder through the same library."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from obstore.store import from_url

from deploy.local.s3 import S3Server
from streams.clock import ManualClock, SystemClock
from streams.sources.exclusion import Exclusion
from streams.sources.objects import Listing, ObjectsSource
from streams.sources.source import LeftOut, Offer, Picture, Refusal, Repeated, Seen, Source, UnreadableSource
from tests.contract.source_suite import SourceSuite, ingest_target, offers_of, pictures, refusals
from tests.support.pictures import encoded, scene
from tests.support.s3_server import s3, s3_server

__all__ = ["s3", "s3_server"]
EVERY_SECONDS = 30.0


def put(where: str, key: str, content: bytes) -> None:
    from_url(where).put(key, content)


def objects(where: str) -> None:
    """Seven pictures in two levels below `cats/`, two objects that are not pictures, two beside the prefix."""
    if next(iter(from_url(where).list()), ()):
        return
    for number in range(7):
        put(where, f"cats/{'more/' if number > 4 else ''}{number}.jpg", encoded(scene(number)))
    for key, content in {
        "cats/notes.txt": b"no picture",
        "cats/empty.jpg": b"",
        "catsuit.jpg": encoded(scene(20)),
        "dogs.jpg": encoded(scene(21)),
    }.items():
        put(where, key, content)


class TestFolder(SourceSuite):
    expected = 7

    def source(self, folder: Path, *, limit: int | None = None) -> Source:
        (folder / "root").mkdir(exist_ok=True)
        objects(f"file://{folder}/root")
        return ObjectsSource(f"file://{folder}/root/cats", Listing(limit=limit), SystemClock())

    def unreadable(self, folder: Path) -> dict[str, Source]:
        return {}

    async def test_excluded_keys_are_left_out_and_counted(self, tmp_path: Path) -> None:
        self.source(tmp_path)
        for key in ("cats/@eaDir/0.jpg/thumb.jpg", "cats/more/._5.jpg", "cats/raw/1.jpg"):
            put(f"file://{tmp_path}/root", key, encoded(scene(30)))
        source = ObjectsSource(f"file://{tmp_path}/root/cats", Listing(), SystemClock(), Exclusion(("raw", "more/6.*")))
        offers = await offers_of(source)
        assert [offer.count for offer in offers if isinstance(offer, LeftOut)] == [4]
        assert len(pictures(offers)) == self.expected - 1

    async def test_a_missing_folder_is_reported(self, tmp_path: Path) -> None:
        with pytest.raises(UnreadableSource, match=f"{tmp_path}/no.*; check"):
            ObjectsSource(f"file://{tmp_path}/no", Listing(), SystemClock())


class TestS3(SourceSuite):
    expected = 7

    @pytest.fixture(autouse=True)
    def _server(self, s3: S3Server, tmp_path: Path) -> None:
        bucket = f"b-{uuid4().hex}"
        self.server, self.root, self.where = s3, s3.bucket(bucket), f"s3://{bucket}"

    def source(self, folder: Path, *, limit: int | None = None) -> Source:
        objects(self.where)
        return ObjectsSource(f"{self.where}/cats", Listing(limit=limit), SystemClock())

    def unreadable(self, folder: Path) -> dict[str, Source]:
        return {"s3://no-such-bucket": ObjectsSource("s3://no-such-bucket", Listing(), SystemClock())}

    async def test_an_object_that_is_not_a_picture_is_refused_and_a_prefix_ends_at_a_slash(
        self, tmp_path: Path
    ) -> None:
        offers = await offers_of(self.source(tmp_path))
        assert refusals(offers) == {"notes.txt": "not_a_picture", "empty.jpg": "empty"}

    async def test_a_position_has_the_whole_key_below_any_prefix(self, tmp_path: Path) -> None:
        self.source(tmp_path)
        below = ObjectsSource(f"{self.where}/cats/more/", Listing(), SystemClock())
        above = ObjectsSource(f"{self.where}/", Listing(), SystemClock())
        positions = {picture.position for picture in pictures(await offers_of(above))}
        assert len(positions) == 9
        assert {picture.position for picture in pictures(await offers_of(below))} < positions

    async def test_an_overwritten_object_is_another_picture(self, tmp_path: Path) -> None:
        async with ingest_target(tmp_path / "target") as target:
            await target.ingest(self.source(tmp_path))
            put(self.where, "cats/0.jpg", encoded(scene(50)))
            assert (await target.ingest(self.source(tmp_path))).accepted == 1

    async def test_following_finds_new_objects_and_fetches_none_twice(self, tmp_path: Path) -> None:
        objects(self.where)
        clock = ManualClock()
        async with followed(f"{self.where}/cats", clock) as next_offer:
            first = [await next_offer() for _ in range(9)]
            assert (len(pictures(first)), sum(isinstance(offer, Refusal) for offer in first)) == (7, 2)
            await asleep(clock)
            put(self.where, "cats/late.jpg", encoded(scene(30)))
            put(self.where, "cats/1.jpg", encoded(scene(31)))
            clock.advance(EVERY_SECONDS)
            later = [await next_offer(), await next_offer()]
            assert sorted(Path(offer.position).name for offer in later if isinstance(offer, Picture)) == [
                "1.jpg",
                "late.jpg",
            ]
            await asleep(clock)
            clock.advance(EVERY_SECONDS)
            await asleep(clock)
            assert next_offer.left == 0

    async def test_what_was_accepted_before_is_not_fetched(self, tmp_path: Path) -> None:
        """Their bytes are overwritten behind the server, whose listing stays the same: no picture changes."""
        known = {picture.position for picture in pictures(await offers_of(self.source(tmp_path)))}
        for path in self.root.rglob("[0-9].jpg"):
            with path.open("r+b") as file:
                file.write(bytes(100))
        again = await offers_of(self.source(tmp_path), known.__contains__)
        assert {offer.position for offer in again if isinstance(offer, Repeated)} == known

    async def test_a_followed_source_waits_for_a_server_that_stopped(self, tmp_path: Path) -> None:
        objects(self.where)
        clock = ManualClock()
        async with followed(f"{self.where}/cats", clock) as next_offer:
            for _ in range(9):
                await next_offer()
            await asleep(clock)
            self.server.stop()
            try:
                clock.advance(EVERY_SECONDS)
                await asleep(clock)
            finally:
                await asyncio.to_thread(self.server.start)
            put(self.where, "cats/new.jpg", encoded(scene(40)))
            clock.advance(EVERY_SECONDS)
            offer = await next_offer()
            assert isinstance(offer, Picture)
            assert offer.position.endswith("new.jpg")


class NextOffer:
    """The offers of a followed source, as they arrive."""

    def __init__(self) -> None:
        self._offers: asyncio.Queue[Offer] = asyncio.Queue()

    async def read(self, source: Source, seen: Seen) -> None:
        async with aclosing(source.offers(seen)) as offers:
            async for offer in offers:
                self._offers.put_nowait(offer)

    async def __call__(self) -> Offer:
        async with asyncio.timeout(60):
            return await self._offers.get()

    @property
    def left(self) -> int:
        return self._offers.qsize()


@asynccontextmanager
async def followed(where: str, clock: ManualClock) -> AsyncIterator[NextOffer]:
    next_offer = NextOffer()
    source = ObjectsSource(where, Listing(follow_seconds=EVERY_SECONDS, retry_seconds=0.2), clock)
    task = asyncio.create_task(next_offer.read(source, lambda _: False))
    try:
        yield next_offer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def asleep(clock: ManualClock) -> None:
    """Return when the source waits for its next listing."""
    async with asyncio.timeout(60):
        while not clock.sleepers:
            await asyncio.wait([asyncio.ensure_future(asyncio.Event().wait())], timeout=0.02)
