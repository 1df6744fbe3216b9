"""Playing a video against a clock that the test owns."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing
from pathlib import Path

import pytest

from streams.clock import ManualClock, SystemClock
from streams.sources.playback import Playback, VideoSource
from streams.sources.source import Offer, Picture, UnreadableSource
from tests.contract.source_suite import offers_of, pictures
from tests.support.videos import write_video

DEADLINE_SECONDS = 30.0


async def played(source: VideoSource, clock: ManualClock) -> list[tuple[float, Offer]]:
    """Each offer with the time of its arrival in seconds; the clock advances only while the source waits for it."""
    offers_by_time = []

    async def consume() -> None:
        async with aclosing(source.offers(lambda _: False)) as offers:
            offers_by_time.extend([(clock.monotonic(), offer) async for offer in offers])

    task = asyncio.create_task(consume())
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not task.done():
            await asyncio.wait([task], timeout=0.002)
            if clock.sleepers:
                clock.advance(0.05)
    await task
    return offers_by_time


async def test_real_time_waits_for_each_frame_and_stamps_it(tmp_path: Path) -> None:
    clock = ManualClock()
    start = clock.now()
    source = VideoSource(write_video(tmp_path / "a.mp4", frames=5, fps=5), Playback(realtime=True, laps=2), clock)
    shown = await played(source, clock)
    assert len(shown) == 10
    for number, (came, offer) in enumerate(shown):
        assert isinstance(offer, Picture)
        assert offer.captured is not None
        assert offer.captured.timestamp() - start == pytest.approx(number * 0.2, abs=1e-3), "laps follow without a gap"
        assert number * 0.2 - 1e-3 <= came <= number * 0.2 + 0.1


async def test_real_time_does_not_wait_for_what_was_accepted_before(tmp_path: Path) -> None:
    clock = ManualClock()
    path = write_video(tmp_path / "a.mp4", frames=10, fps=5)
    known = {picture.position for picture in pictures(await offers_of(VideoSource(path, Playback(limit=8), clock)))}
    source = VideoSource(path, Playback(realtime=True, limit=9), clock)
    async with aclosing(source.offers(known.__contains__)) as offers, asyncio.timeout(DEADLINE_SECONDS):
        shown = [offer async for offer in offers]
    assert clock.monotonic() == 0
    assert [picture.captured and picture.captured.timestamp() for picture in pictures(shown)] == [clock.now()]


async def test_a_jump_of_ten_hours_is_not_waited_for(tmp_path: Path) -> None:
    clock = ManualClock()
    start = clock.now()
    parts = [write_video(tmp_path / f"{first}.ts", frames=3, fps=5, first=first) for first in (0, 180_000)]
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    shown = await played(VideoSource(path, Playback(realtime=True), clock), clock)
    captured = [offer.captured for _, offer in shown if isinstance(offer, Picture) and offer.captured is not None]
    assert [time.timestamp() - start for time in captured] == pytest.approx([0.2 * n for n in range(6)], abs=1e-3)
    assert clock.monotonic() <= 1.2


async def test_without_real_time_there_is_no_captured_time(tmp_path: Path) -> None:
    source = VideoSource(write_video(tmp_path / "a.mp4", frames=3), Playback(), SystemClock())
    assert {picture.captured for picture in pictures(await offers_of(source))} == {None}


async def test_quality_is_in_the_picture_and_in_its_size(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", frames=1)
    sizes = []
    for quality in (30, 95):
        (picture,) = pictures(await offers_of(VideoSource(path, Playback(quality=quality), SystemClock())))
        assert picture.quality == quality
        sizes.append(len(picture.content))
    assert sizes[0] < sizes[1]


async def test_an_endless_loop_decodes_few_frames_ahead_and_stops_when_closed(tmp_path: Path) -> None:
    source = VideoSource(write_video(tmp_path / "a.mp4", frames=3), Playback(laps=None), SystemClock())
    async with aclosing(source.offers(lambda _: False)) as offers:
        laps = [(await anext(offers)) for _ in range(7)]
    assert [int(offer.position.split(":")[3]) for offer in laps if isinstance(offer, Picture)] == [0, 0, 0, 1, 1, 1, 2]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("source")]


async def test_a_looped_video_without_a_frame_is_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", codec="mpeg4")
    content = path.read_bytes()
    start, end = content.index(b"mdat") + 4, content.index(b"moov") - 4
    path.write_bytes(content[:start] + bytes(end - start) + content[end:])
    with pytest.raises(UnreadableSource, match="no frame"):
        await offers_of(VideoSource(path, Playback(laps=None), SystemClock()))


@pytest.mark.parametrize(
    "wrong", [{"fps": 0}, {"fps": -1}, {"fps": float("nan")}, {"quality": 0}, {"laps": 0}, {"limit": 0}]
)
def test_invalid_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Playback(**wrong)  # type: ignore[arg-type]
