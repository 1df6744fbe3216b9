from __future__ import annotations

from pathlib import Path

from streams.clock import SystemClock
from streams.sources.playback import Playback, VideoSource
from streams.sources.source import Source
from tests.contract.source_suite import SourceSuite, ingest_target, offers_of, pictures
from tests.support.videos import write_video


class TestVideoSource(SourceSuite):
    expected = 10

    def source(self, folder: Path, *, limit: int | None = None) -> Source:
        path = folder / "clip.mp4"
        if not path.exists():
            write_video(path, frames=20, fps=10)
        return VideoSource(path, Playback(fps=5, limit=limit), SystemClock())

    def unreadable(self, folder: Path) -> dict[str, Source]:
        (folder / "text.mp4").write_text("no video")
        names = ("missing.mp4", "text.mp4")
        return {name: VideoSource(folder / name, Playback(), SystemClock()) for name in names}

    async def test_frames_come_in_order_of_display(self, tmp_path: Path) -> None:
        shown = pictures(await offers_of(self.source(tmp_path)))
        stamps = [int(picture.position.split(":")[2]) for picture in shown]
        assert stamps == sorted(stamps)

    async def test_a_copy_elsewhere_under_another_name_is_the_same_video(self, tmp_path: Path) -> None:
        self.source(tmp_path)
        copy = tmp_path / "copy.mp4"
        copy.write_bytes((tmp_path / "clip.mp4").read_bytes())
        async with ingest_target(tmp_path / "target") as target:
            await target.ingest(self.source(tmp_path))
            assert (await target.ingest(VideoSource(copy, Playback(fps=5), SystemClock()))).accepted == 0

    async def test_a_loop_adds_its_laps_and_nothing_else(self, tmp_path: Path) -> None:
        self.source(tmp_path)
        twice = VideoSource(tmp_path / "clip.mp4", Playback(fps=5, laps=2), SystemClock())
        async with ingest_target(tmp_path / "target") as target:
            await target.ingest(self.source(tmp_path))
            summary = await target.ingest(twice)
            assert (summary.accepted, summary.repeated) == (self.expected, self.expected)
            assert (await target.ingest(twice)).accepted == 0

    async def test_another_rate_adds_only_the_frames_in_between(self, tmp_path: Path) -> None:
        self.source(tmp_path)
        async with ingest_target(tmp_path / "target") as target:
            await target.ingest(self.source(tmp_path))
            summary = await target.ingest(VideoSource(tmp_path / "clip.mp4", Playback(), SystemClock()))
            assert (summary.accepted, summary.repeated) == (10, 10)

    async def test_an_endless_loop_continues_in_the_lap_where_it_stopped(self, tmp_path: Path) -> None:
        self.source(tmp_path)
        path = tmp_path / "clip.mp4"
        async with ingest_target(tmp_path / "target") as target:
            await target.ingest(VideoSource(path, Playback(fps=5, laps=None, limit=25), SystemClock()))
            summary = await target.ingest(VideoSource(path, Playback(fps=5, laps=None, limit=15), SystemClock()))
            assert (summary.repeated, summary.accepted) == (5, 10)
            laps = sorted(int(event.position.split(":")[3]) for event in await target.events())
            assert laps == [0] * 10 + [1] * 10 + [2] * 10 + [3] * 5
