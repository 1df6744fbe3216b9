from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from streams.clock import SystemClock
from streams.sources.playback import Playback, VideoSource
from streams.sources.source import UnreadableSource
from streams.sources.source_choice import choose_source
from streams.sources.timeline import Stamp
from streams.sources.video import decode_frames, open_video, thin
from tests.contract.source_suite import offers_of, pictures, refusals
from tests.support.videos import number_of, write_video


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("a.mkv", "libx264"),
        ("a.mov", "libx264"),
        ("a.ts", "libx264"),
        ("a.webm", "libvpx"),
        ("a.avi", "mpeg4"),
        ("a.h264", "libx264"),
    ],
)
def test_containers_give_every_frame_in_order(tmp_path: Path, name: str, codec: str) -> None:
    path = write_video(tmp_path / name, codec=codec)
    assert [number_of(frame) for frame in decode_frames(path)] == list(range(20))
    with open_video(path) as video:
        stamps = [stamp for stamp, _ in video.stamped()]
    assert len({stamp.pts for stamp in stamps}) == 20
    if not name.endswith("h264"):
        assert stamps[-1].seconds == pytest.approx(1.9, abs=0.01)


@pytest.mark.parametrize(("fps", "numbers"), [(5, [0, 2, 4, 6, 8]), (3, [0, 4, 7]), (10, range(10)), (60, range(10))])
def test_thinning_takes_the_first_frame_of_every_tick(tmp_path: Path, fps: float, numbers: list[int]) -> None:
    path = write_video(tmp_path / "a.mp4", frames=10)
    assert [number_of(frame) for frame in decode_frames(path, fps=fps)] == list(numbers)
    with open_video(path) as video:
        assert video.expected(fps) == pytest.approx(len(numbers), abs=1)


@pytest.mark.parametrize(
    ("rotation", "shape", "corner"),
    [(90, (160, 96), "bottom left"), (-90, (160, 96), "top right"), (180, (96, 160), "bottom right")],
)
def test_frames_stand_upright(tmp_path: Path, rotation: int, shape: tuple[int, int], corner: str) -> None:
    """The white quarter was written top left; the display matrix rotates counterclockwise."""
    frame = next(decode_frames(write_video(tmp_path / "a.mp4", rotation=rotation)))
    assert frame.shape == (*shape, 3)
    top, left = frame[:10].mean() > frame[-10:].mean(), frame[:, :10].mean() > frame[:, -10:].mean()
    assert corner == f"{'top' if top else 'bottom'} {'left' if left else 'right'}"


@pytest.mark.parametrize(
    "text", ["ffconcat version 1.0\nfile secret.mp4\n", "#EXTM3U\n#EXTINF:10,\nsecret.mp4\n#EXT-X-ENDLIST\n"]
)
def test_a_list_with_the_name_of_a_video_does_not_open_other_files(tmp_path: Path, text: str) -> None:
    write_video(tmp_path / "secret.mp4")
    trick = tmp_path / "trick.mp4"
    trick.write_text(text)
    with pytest.raises(UnreadableSource, match="not a video"):
        next(decode_frames(trick))


def test_a_colon_or_percent_in_a_name_is_neither_protocol_nor_pattern(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4").rename(tmp_path / "concat:a%03d.mp4")
    assert sum(1 for _ in decode_frames(path)) == 20


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    with pytest.raises(UnreadableSource, match="no video stream"):
        next(decode_frames(path))


async def test_damaged_packets_are_reported_and_cost_only_the_frames_up_to_the_next_keyframe(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", codec="mpeg4", frames=30, keyframes=5)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 350] = bytes(350)
    path.write_bytes(content)
    offers = await offers_of(VideoSource(path, Playback(), SystemClock()))
    assert refusals(offers) == {"a.mp4": "damaged_packet"}
    assert 25 <= len(pictures(offers)) < 30


def test_a_truncated_file_gives_the_frames_before_its_end(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", codec="mpeg4", frames=30)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])
    numbers = [number_of(frame) for frame in decode_frames(path)]
    assert numbers == list(range(len(numbers)))
    assert 15 <= len(numbers) < 30


def test_time_stamps_may_be_uneven() -> None:
    stamps = [(Stamp(n, seconds), n) for n, seconds in enumerate([0.0, 0.01, 0.09, 0.1000001, 0.35, 0.36, 0.99999999])]
    assert [frame for _, frame in thin(stamps, 10)] == [0, 3, 4, 6]


async def test_an_animated_gif_is_a_film(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("gif", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb8"
        for level in (0, 100, 200):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), level, np.uint8), format="rgb24")
            container.mux(stream.encode(frame.reformat(format="rgb8")))
        container.mux(stream.encode(None))
    offers = await offers_of(choose_source(str(path), Playback(), SystemClock()))
    assert len(pictures(offers)) == 3
