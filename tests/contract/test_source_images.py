from __future__ import annotations

import io
from pathlib import Path

import pytest

from schemas.topics import RAW
from streams.clock import SystemClock
from streams.sources.fetcher import Fetcher, FetchSettings
from streams.sources.images import from_files, from_folder, from_glob
from streams.sources.source import Source
from streams.sources.urls import from_lines
from tests.contract.source_suite import SourceSuite, offers_of, pictures, place, refusals
from tests.support.pictures import Format, encoded, scene

FORMATS: tuple[Format, ...] = ("jpeg", "png", "webp")


def stills(folder: Path) -> Path:
    """Seven pictures in two levels and three formats under misleading names, and four files that are none."""
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

    async def test_what_is_no_picture_is_refused_by_name_and_the_others_go_on(self, tmp_path: Path) -> None:
        reasons = {
            "notes.jpg": "not_a_picture",
            "empty.png": "empty",
            "animation.gif": "not_a_picture",
            "gone.jpg": "missing",
        }
        assert refusals(await offers_of(self.source(tmp_path))) == reasons
        async with place(tmp_path / "place") as found:
            summary = await found.ingest(self.source(tmp_path))
            assert (summary.accepted, summary.refused) == (7, 4)
            assert summary.reasons == {"not_a_picture": 2, "empty": 1, "missing": 1}
            assert {Path(refusal.name).name for refusal in summary.refusals} == set(reasons)

    async def test_a_folder_uses_every_partition(self, tmp_path: Path) -> None:
        """A still's key is its frame, so that one folder is no single partition's work."""
        folder = tmp_path / "many"
        folder.mkdir()
        for number in range(48):
            (folder / f"{number}.png").write_bytes(encoded(scene(number, 16, 12), "png"))
        async with place(tmp_path / "place") as found:
            assert (await found.ingest(from_folder(folder))).accepted == 48
            ends = await found.log.ends(RAW)
            assert len(ends) > 1
            assert all(end > first for first, end in ends.values())

    async def test_a_picture_is_the_same_however_it_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = stills(tmp_path)
        monkeypatch.chdir(root)
        async with place(tmp_path / "place") as found:
            await found.ingest(from_folder(root))
            for source in (from_glob("*.jpg"), from_files([Path("below/../0.jpg")]), listed("1.jpg\n")):
                summary = await found.ingest(source)
                assert summary.accepted == 0
                assert summary.repeated > 0

    async def test_changed_content_is_another_picture(self, tmp_path: Path) -> None:
        root = stills(tmp_path)
        async with place(tmp_path / "place") as found:
            await found.ingest(from_folder(root))
            (root / "0.jpg").write_bytes(encoded(scene(50)))
            assert (await found.ingest(from_folder(root))).accepted == 1


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
        async with place(tmp_path / "place") as found:
            summary = await found.ingest(listed(f"{path}\n{path}\n"))
            assert (summary.accepted, summary.repeated) == (1, 1)

    async def test_lines_that_lead_nowhere_are_counted(self, tmp_path: Path) -> None:
        lines = f"{tmp_path}\n{tmp_path / 'missing.jpg'}\n/dev/zero\nnul\0byte\n"
        found = await offers_of(listed(lines))
        assert pictures(found) == []
        assert list(refusals(found).values()) == ["not_a_file", "missing", "not_a_file", "unreadable"]
