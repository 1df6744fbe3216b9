"""Videos that change, end early or come damaged: what is whole is taken, and what is missing is told."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from streams.clock import SystemClock
from streams.sources.playback import Playback, VideoSource
from streams.sources.source import Refusal, UnreadableSource
from streams.sources.video import decode_frames
from streams.sources.whole_frames import HOPELESS_PACKETS, WholeFrames
from tests.contract.source_suite import ingest_target, offers_of, pictures, refusals
from tests.support.odd_videos import add_cover
from tests.support.pictures import encoded, scene
from tests.support.videos import number_of, write_video

PACKET_BYTES = 188


def joined(folder: Path, *parts: Path) -> Path:
    path = folder / "joined.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def source(path: Path, fps: float | None = None) -> VideoSource:
    return VideoSource(path, Playback(fps=fps), SystemClock())


async def test_a_stream_whose_codec_changes_is_read_to_its_end(tmp_path: Path) -> None:
    path = joined(
        tmp_path,
        write_video(tmp_path / "1.ts"),
        write_video(tmp_path / "2.ts", codec="libx265", first=100),
    )
    offers = await offers_of(source(path))
    assert len(pictures(offers)) == 40
    assert len({picture.position for picture in pictures(offers)}) == 40


@pytest.mark.parametrize(("first", "fps", "expected"), [(0, None, 40), (0, 2, 8), (10, None, 40), (10, 2, 8)])
async def test_joined_recordings_give_every_frame_once(
    tmp_path: Path, first: int, fps: float | None, expected: int
) -> None:
    """The second recording begins at the first one's stamps again, or a second before its end."""
    path = joined(tmp_path, write_video(tmp_path / "1.ts"), write_video(tmp_path / "2.ts", first=first))
    async with ingest_target(tmp_path / "target") as target:
        summary = await target.ingest(source(path, fps))
        assert (summary.accepted, summary.repeated, summary.doubled, summary.refused) == (expected, 0, 0, 0)
        again = await target.ingest(source(path, fps))
        assert (again.accepted, again.repeated) == (0, expected)


async def test_a_jump_ahead_costs_no_frame(tmp_path: Path) -> None:
    path = joined(tmp_path, write_video(tmp_path / "1.ts"), write_video(tmp_path / "2.ts", first=360_000))
    assert len(pictures(await offers_of(source(path, 2)))) == 8


async def test_a_cover_before_the_film_is_not_the_film(tmp_path: Path) -> None:
    path = add_cover(write_video(tmp_path / "plain.mp4"), tmp_path / "cover.mp4")
    with av.open(str(path)) as container:
        assert container.streams.video[0].width == 64, "the cover is the first stream"
    assert [number_of(frame) for frame in decode_frames(path)] == list(range(20))


def test_a_song_with_a_cover_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "song.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        sound = container.add_stream("aac", rate=8000, layout="mono")
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        container.mux(cover.encode(picture) + cover.encode(None))
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        tone.sample_rate = 8000
        container.mux(sound.encode(tone) + sound.encode(None))
    with pytest.raises(UnreadableSource, match=r"song\.m4a: contains no video stream; choose another file"):
        next(decode_frames(path))


async def test_a_film_cut_short_says_how_much_of_it_came(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "a.mp4", frames=30, keyframes=5, detailed=True, options={"movflags": "faststart"})
    content = whole.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(content[: len(content) * 7 // 10])
    offers = await offers_of(source(cut))
    came = len(pictures(offers))
    assert 10 <= came < 30
    (refusal,) = [offer for offer in offers if isinstance(offer, Refusal)]
    assert refusal.reason == "cut_short"
    assert f"the file names 30 frames, {came} came" in refusal.message
    assert refusals(await offers_of(source(whole))) == {}


async def test_a_matroska_cut_short_says_how_much_of_it_came(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "a.mkv", frames=30, fps=2, keyframes=5)
    content = whole.read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(content[: len(content) * 6 // 10])
    (refusal,) = [offer for offer in await offers_of(source(cut)) if isinstance(offer, Refusal)]
    assert refusal.message.startswith(f"{cut}: the file names 15 seconds, ")
    assert refusals(await offers_of(source(whole))) == {}


@pytest.mark.parametrize(
    ("codec", "lost"), [("libx264", False), ("libx264", True), ("mpeg2video", False), ("libx265", True)]
)
async def test_frames_that_build_on_damaged_ones_are_left_out_up_to_the_next_keyframe(
    tmp_path: Path,
    codec: str,
    lost: bool,  # noqa: FBT001 - one of the cases
) -> None:
    """Bytes of frame 13 are zeroed, or one of the stream's packets is lost there."""
    path = write_video(tmp_path / "a.ts", frames=30, keyframes=10, detailed=True, codec=codec)
    content = path.read_bytes()
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.pos is not None]
    starts, stamps = [packet.pos for packet in packets], sorted(packet.pts for packet in packets)
    keyframes = [stamps.index(packet.pts) for packet in packets if packet.is_keyframe]
    following = min(number for number in keyframes if number > 13)
    cut = (starts[13] + starts[14]) // 2 // PACKET_BYTES * PACKET_BYTES
    rest = content[cut + PACKET_BYTES :] if lost else bytes(100) + content[cut + 160 :]
    path.write_bytes(content[: cut if lost else cut + 60] + rest)
    offers = await offers_of(source(path))
    shown = [cv2.imdecode(np.frombuffer(each.content, np.uint8), cv2.IMREAD_COLOR) for each in pictures(offers)]
    numbers = {number_of(picture.astype(np.uint8)) for picture in shown if picture is not None}
    assert numbers >= {*range(9), *range(following, 30)}
    assert not numbers & set(range(14, following))
    assert refusals(offers) == {"a.ts": "damaged_packet"}


@pytest.mark.parametrize("kind", ["avi", "mkv", "mov"])
async def test_damaged_pictures_of_motion_jpeg_are_left_out(tmp_path: Path, kind: str) -> None:
    jpegs = [encoded(scene(number)) for number in range(4)]
    half = len(jpegs[1]) // 2
    jpegs[1], jpegs[2], jpegs[3] = jpegs[1][:half], jpegs[2][:-2], jpegs[3][:half] + bytes(400) + jpegs[3][half + 400 :]
    path = tmp_path / f"a.{kind}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuvj420p"
        for number, jpeg in enumerate(jpegs):
            packet = av.Packet(jpeg)
            packet.stream, packet.time_base, packet.is_keyframe = stream, Fraction(1, 10), True
            packet.pts = packet.dts = number
            container.mux(packet)
    offers = await offers_of(source(path))
    assert len(pictures(offers)) == 2
    assert refusals(offers) == {path.name: "damaged_packet"}


def test_a_decoder_that_fails_for_long_is_given_up_and_one_whole_frame_is_enough_to_go_on(tmp_path: Path) -> None:
    with av.open(str(write_video(tmp_path / "a.mp4"))) as container:
        stream = container.streams.video[0]
        stream.thread_type = "SLICE"
        whole, garbage = WholeFrames(stream, joined=True), av.Packet(b"\xff" * 64)
        garbage.stream = stream
        for _ in range(HOPELESS_PACKETS - 1):
            assert whole.decode(garbage) == []
        before = whole.hopeless
        assert whole.damaged == 0, "before the first whole frame nothing is damaged"
        packets = list(container.demux(stream))
        assert sum(len(whole.decode(packet)) for packet in packets[:10]) > 0
        for _ in range(HOPELESS_PACKETS):
            assert whole.decode(garbage) == []
        assert (before, whole.hopeless) == (False, True)
        assert whole.damaged == HOPELESS_PACKETS
