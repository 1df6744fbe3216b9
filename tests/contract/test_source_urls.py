"""Lists of URLs against a real web server, which the settings must allow because it is not public."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from schemas.events import FrameEvent
from streams.clock import SystemClock
from streams.sources.fetcher import Fetcher, FetchSettings
from streams.sources.playback import Playback
from streams.sources.source import Picture, Refusal, Source
from streams.sources.source_choice import RemoteOptions, choose_source
from streams.sources.urls import from_lines, from_url_file, from_urls
from tests.contract.source_suite import SourceSuite, ingest_target, offers_of, pictures, refusals
from tests.support.odd_pictures import heif, quarters, saved
from tests.support.picture_server import ALLOWED, PictureServer, picture_server
from tests.support.pictures import encoded, scene

SETTINGS = FetchSettings(allow=ALLOWED, at_once=3, attempts=3, timeout_seconds=20)


class Impatient(SystemClock):
    async def sleep(self, seconds: float) -> None:
        """Pauses between attempts pass at once."""


FETCHER = Fetcher(SETTINGS, Impatient())


@pytest.fixture
def web() -> Iterator[PictureServer]:
    with picture_server({f"{number}.jpg": encoded(scene(number)) for number in range(7)}) as server:
        yield server


class TestUrls(SourceSuite):
    expected = 7

    @pytest.fixture(autouse=True)
    def _web(self, web: PictureServer) -> None:
        self.web = web

    def source(self, folder: Path, *, limit: int | None = None) -> Source:
        listed = [self.web.url(f"/pictures/{number}.jpg?signature=s3cret") for number in range(7)]
        (folder / "list.txt").write_text("\ufeff# seven pictures\n\n" + "\r\n".join(listed) + "\r\n", encoding="utf-8")
        return from_url_file(folder / "list.txt", FETCHER, limit=limit)

    def unreadable(self, folder: Path) -> dict[str, Source]:
        return {}

    async def test_no_query_is_written_to_the_log(self, tmp_path: Path) -> None:
        async with ingest_target(tmp_path / "target") as target:
            await target.ingest(self.source(tmp_path))
            events: list[FrameEvent] = await target.events()
        assert "/pictures/3.jpg" in "".join(event.position for event in events)
        assert "s3cret" not in repr(events)

    async def test_as_many_concurrent_fetches_as_the_settings_allow(self) -> None:
        self.web.together = threading.Barrier(SETTINGS.at_once)
        offers = await offers_of(from_urls([self.web.url(f"/together/{n}.jpg") for n in range(6)], FETCHER))
        assert [Path(picture.position).name for picture in pictures(offers)] == [f"{n}.jpg" for n in range(6)]
        assert self.web.most_at_once == SETTINGS.at_once

    async def test_a_failing_host_is_retried_until_it_answers_or_attempts_run_out(self) -> None:
        flaky = [self.web.url("/flaky/2/1.jpg"), self.web.url("/flaky/3/2.jpg"), self.web.url("/moved/3.jpg")]
        first, second, third = await offers_of(from_urls(flaky, FETCHER))
        assert isinstance(first, Picture)
        assert isinstance(second, Refusal)
        assert (second.reason, "answers 503, 3 times" in second.message) == ("unreachable", True)
        assert isinstance(third, Picture)
        assert self.web.asked["/flaky/3/2.jpg"] == 3

    async def test_failures_are_reported_and_counted_and_the_others_are_fetched(self, tmp_path: Path) -> None:
        self.web.pictures |= {"text.jpg": b"no picture", "large.jpg": encoded(scene(9)) + bytes(1 << 20)}
        lines = [
            self.web.url("/pictures/text.jpg"),
            self.web.url("/pictures/missing.jpg"),
            self.web.url("/pictures/large.jpg"),
            self.web.url("/away"),
            "http://169.254.169.254/latest/meta-data?token=s3cret",
            "http://user:s3cret@127.0.0.1/",
            "http://127.0.0.1:1/no-server",
            "/etc/passwd",
            self.web.url("/pictures/5.jpg"),
        ]
        (tmp_path / "list.txt").write_text("\n".join(lines))
        small = Fetcher(FetchSettings(allow=ALLOWED, attempts=2, max_bytes=1 << 20), Impatient())
        async with ingest_target(tmp_path / "target") as target:
            summary = await target.ingest(from_url_file(tmp_path / "list.txt", small))
        assert (summary.accepted, summary.refused) == (1, 8)
        assert summary.reasons == {"not_a_picture": 1, "refused_url": 5, "unreachable": 1, "not_a_url": 1}
        assert "s3cret" not in repr(summary)
        assert self.web.asked["/pictures/missing.jpg"] == 1, "a 404 is not retried"

    @pytest.mark.parametrize("name", ["a.HEIC", "a.avif"])
    async def test_a_phones_picture_is_read_whole_from_its_url(self, name: str) -> None:
        content = heif(quarters(900, 600), tile=512) if name == "a.HEIC" else saved(quarters(900, 600), "AVIF")
        self.web.pictures[name] = content
        source = choose_source(
            self.web.url(f"/pictures/{name}"), Playback(), Impatient(), RemoteOptions(fetch=SETTINGS)
        )
        (picture,) = pictures(await offers_of(source))
        assert picture.content == content
        assert picture.format == name[2:].lower()

    async def test_private_addresses_are_fetched_only_if_allowed(self) -> None:
        offers = await offers_of(from_urls([self.web.url("/pictures/1.jpg")], Fetcher(FetchSettings(), SystemClock())))
        assert list(refusals(offers).values()) == ["refused_url"]
        assert not self.web.asked

    async def test_standard_input_takes_urls_and_paths(self, tmp_path: Path) -> None:
        path = tmp_path / "#8.jpg"
        path.write_bytes(encoded(scene(8)))
        lines = io.StringIO(f"{self.web.url('/pictures/1.jpg')}\n{path}\n{tmp_path}/missing.jpg\n")
        offers = await offers_of(from_lines(lines, FETCHER))
        assert len(pictures(offers)) == 2
        assert list(refusals(offers).values()) == ["missing"]

    async def test_a_url_that_changes_every_day_may_have_a_stable_name(self, tmp_path: Path) -> None:
        async with ingest_target(tmp_path / "target") as target:
            for day in ("1", "2"):
                today = [self.web.url(f"/flaky/0{day}/1.jpg")]
                self.web.asked.update({urlsplit(url).path: 9 for url in today})  # flaky no more
                summary = await target.ingest(from_urls(today, FETCHER, stable_name=lambda _: "https://host/photos/1"))
            assert (summary.accepted, summary.repeated) == (0, 1)
            (event,) = await target.events()
        assert event.position.endswith("https://host/photos/1")
