"""A video file that is read while it is being written: what was accepted then is known when it is whole."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from streams.clock import SystemClock
from streams.sources.playback import Playback, VideoSource
from tests.contract.source_suite import ingest_target

FRAMES, SO_FAR = 40, 31
FORMATS = {
    "mkv": {},
    "ts": {},
    "flv": {},
    "mp4": {"movflags": "frag_every_frame+empty_moov"},
}


def recorded(folder: Path, suffix: str, *, first: int = 0) -> tuple[Path, Path]:
    """A file as it lies on the disk while it is being written, and the same file when its recorder has closed it."""
    half, whole = folder / f"half{first}.{suffix}", folder / f"whole{first}.{suffix}"
    options = {"flush_packets": "1", **FORMATS[suffix]}
    with av.open(str(whole), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=10, options={"tune": "zerolatency", "g": "10"})
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        noise = np.random.default_rng(first)
        for number in range(FRAMES):
            if number == SO_FAR + 2:
                shutil.copyfile(whole, half)
            frame = av.VideoFrame.from_ndarray(noise.integers(0, 255, (96, 160, 3), np.uint8), "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return half, whole


@pytest.mark.parametrize("suffix", FORMATS)
async def test_frames_of_a_file_that_has_grown_are_known_again(tmp_path: Path, suffix: str) -> None:
    half, whole = recorded(tmp_path, suffix)
    film = tmp_path / f"film.{suffix}"
    async with ingest_target(tmp_path / "target") as target:
        shutil.copyfile(half, film)
        first = await target.ingest(VideoSource(film, Playback(), SystemClock()))
        assert 25 <= first.accepted < FRAMES
        shutil.copyfile(whole, film)
        second = await target.ingest(VideoSource(film, Playback(), SystemClock()))
        assert (second.accepted, second.repeated) == (FRAMES - first.accepted, first.accepted)
        assert second.notes == (f"{film}: has grown since it was ingested; the frames of then are known again",)
        third = await target.ingest(VideoSource(film, Playback(), SystemClock()))
        assert (third.accepted, third.repeated, third.notes) == (0, FRAMES, ())
        assert len({event.id for event in await target.events()}) == FRAMES


async def test_another_recording_under_the_same_name_is_another_one(tmp_path: Path) -> None:
    film = tmp_path / "film.mkv"
    async with ingest_target(tmp_path / "target") as target:
        for first in (0, 1):
            shutil.copyfile(recorded(tmp_path, "mkv", first=first)[1], film)
            summary = await target.ingest(VideoSource(film, Playback(), SystemClock()))
            assert (summary.accepted, summary.repeated, summary.notes) == (FRAMES, 0, ())
