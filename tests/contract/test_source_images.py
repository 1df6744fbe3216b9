from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest

from schemas import points
from schemas.topics import RAW
from streams.clock import SystemClock
from streams.sources.fetcher import Fetcher, FetchSettings
from streams.sources.images import from_files, from_folder, from_glob
from streams.sources.source import Source
from streams.sources.urls import from_lines
from tests.contract.source_suite import SourceSuite, ingest_target, offers_of, pictures, refusals
from tests.support.odd_pictures import exif, heif, quarters, saved, stored
from tests.support.pictures import Format, encoded, scene

FORMATS: tuple[Format, ...] = ("jpeg", "png", "webp")


def stills(folder: Path) -> Path:
    """Seven pictures in two levels and three formats with misleading names, and four files that are not pictures."""
    root = folder / "stills"
    if root.exists():
        return root
    (root / "below").mkdir(parents=True)
    for number in range(7):
        content = encoded(scene(number), FORMATS[number % 3])
        (root / ("below" if number > 4 else "") / f"{number}.jpg").write_bytes(content)
    (root / "notes.jpg").write_text("no picture")
    (root / "empty.png").touch()
    (root / "animation.gif").write_bytes(b"GIF89a" + bytes(20))
    (root / ".hidden.jpg").write_bytes(encoded(scene(99)))
    (root / "gone.jpg").symlink_to(root / "nowhere.jpg")
    return root


def listed(lines: str, *, limit: int | None = None) -> Source:
    return from_lines(io.StringIO(lines), Fetcher(FetchSettings(), SystemClock()), limit=limit)


class TestFolder(SourceSuite):
    expected = 7

    def source(self, folder: Path, *, limit: int | None = None) -> Source:
        return from_folder(stills(folder), limit=limit)

    def unreadable(self, folder: Path) -> dict[str, Source]:
        return {}

    async def test_a_file_that_is_not_a_picture_is_refused_by_name_and_the_others_are_read(
        self, tmp_path: Path
    ) -> None:
        reasons = {
            "notes.jpg": "not_a_picture",
            "empty.png": "empty",
            "animation.gif": "not_a_picture",
            "gone.jpg": "missing",
        }
        assert refusals(await offers_of(self.source(tmp_path))) == reasons
        async with ingest_target(tmp_path / "target") as target:
            summary = await target.ingest(self.source(tmp_path))
            assert (summary.accepted, summary.refused) == (7, 4)
            assert summary.reasons == {"not_a_picture": 2, "empty": 1, "missing": 1}
            assert {Path(refusal.name).name for refusal in summary.refusals} == set(reasons)

    async def test_a_folder_uses_every_partition(self, tmp_path: Path) -> None:
        """The key of a still is its frame, so that the pictures of a folder go to all partitions."""
        folder = tmp_path / "many"
        folder.mkdir()
        for number in range(48):
            (folder / f"{number}.png").write_bytes(encoded(scene(number, 16, 12), "png"))
        async with ingest_target(tmp_path / "target") as target:
            assert (await target.ingest(from_folder(folder))).accepted == 48
            ends = await target.log.ends(RAW)
            assert len(ends) > 1
            assert all(end > first for first, end in ends.values())

    async def test_a_picture_is_the_same_by_any_path_to_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = stills(tmp_path)
        monkeypatch.chdir(root)
        async with ingest_target(tmp_path / "target") as target:
            await target.ingest(from_folder(root))
            for source in (from_glob("*.jpg"), from_files([Path("below/../0.jpg")]), listed("1.jpg\n")):
                summary = await target.ingest(source)
                assert summary.accepted == 0
                assert summary.repeated > 0

    async def test_what_phones_and_editors_write_is_accepted_as_itself_with_size_and_time(self, tmp_path: Path) -> None:
        """The picture's own offset counts; without EXIF the time of capture stays unknown."""
        folder, taken = tmp_path / "phone", exif(orientation=6, taken="2019:07:04 18:30:15", offset="+09:00")
        folder.mkdir()
        (folder / "grid.heic").write_bytes(heif(stored(quarters(900, 600), 6), tile=512, exif=taken))
        (folder / "one.avif").write_bytes(saved(stored(quarters(900, 600), 6), "AVIF", exif=taken))
        (folder / "two.jpeg").write_bytes(saved(stored(quarters(900, 600), 6), "JPEG", exif=taken))
        (folder / "four.gif").write_bytes(saved(quarters(900, 600), "GIF"))
        async with ingest_target(tmp_path / "target") as target:
            assert (await target.ingest(from_folder(folder))).accepted == 4
            events = {event.image.format: event for event in await target.events()}
        assert sorted(events) == ["avif", "gif", "heic", "jpeg"]
        assert {(event.image.width, event.image.height) for event in events.values()} == {(900, 600)}
        times = {name: event.captured for name, event in events.items()}
        moment = datetime(2019, 7, 4, 9, 30, 15, tzinfo=UTC)
        assert times == {"avif": moment, "gif": None, "heic": moment, "jpeg": moment}
        assert datetime.fromisoformat(points.payload(events["heic"])["time"]) == moment

    async def test_changed_content_is_another_picture(self, tmp_path: Path) -> None:
        root = stills(tmp_path)
        async with ingest_target(tmp_path / "target") as target:
            await target.ingest(from_folder(root))
            (root / "0.jpg").write_bytes(encoded(scene(50)))
            assert (await target.ingest(from_folder(root))).accepted == 1


class TestGlob(SourceSuite):
    expected = 7

    def source(self, folder: Path, *, limit: int | None = None) -> Source:
        return from_glob(f"{stills(folder)}/**/[0-9].jpg", limit=limit)

    def unreadable(self, folder: Path) -> dict[str, Source]:
        return {}


class TestList(SourceSuite):
    expected = 7

    def source(self, folder: Path, *, limit: int | None = None) -> Source:
        root = stills(folder)
        names = sorted(root.rglob("[0-9].jpg"))
        return listed("\n\n".join(map(str, names)) + "\r\n", limit=limit)

    def unreadable(self, folder: Path) -> dict[str, Source]:
        return {}

    async def test_the_same_path_twice_is_one_picture(self, tmp_path: Path) -> None:
        path = stills(tmp_path) / "0.jpg"
        async with ingest_target(tmp_path / "target") as target:
            summary = await target.ingest(listed(f"{path}\n{path}\n"))
            assert (summary.accepted, summary.repeated, summary.doubled) == (1, 0, 1)

    async def test_paths_that_cannot_be_read_are_counted(self, tmp_path: Path) -> None:
        lines = f"{tmp_path}\n{tmp_path / 'missing.jpg'}\n/dev/zero\nnul\0byte\n"
        offers = await offers_of(listed(lines))
        assert pictures(offers) == []
        assert list(refusals(offers).values()) == ["not_a_file", "missing", "not_a_file", "unreadable"]
