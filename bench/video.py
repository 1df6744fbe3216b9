"""The video part of `bench/decode.py`: frames of the video source, before and after encoding, over PyAV alone.

Both sides read the same generated H.264 file, 1080p, and give upright RGB arrays. PyAV alone is its own decoding loop
with its own threads and nothing else. The encoded rate is that of the whole source, as `ingest` runs it.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from bench.report import in_turns, median_ratio, spread
from streams.clock import SystemClock
from streams.sources.playback import Playback, VideoSource
from streams.sources.source import Picture
from streams.sources.video import decode_frames

WIDTH, HEIGHT, FRAMES, FPS = 1920, 1080, 96, 24


def video_figures(rounds: int) -> tuple[dict[str, float], dict[str, object]]:
    """`ratio_video`, and frames per second of both sides and of the whole source."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.mp4"
        make_video(path)
        seconds = in_turns(
            rounds,
            source=lambda: decoding_seconds(decode_frames(path)),
            pyav=lambda: decoding_seconds(alone(path)),
            encoded=lambda: asyncio.run(encoding_seconds(path)),
        )
    rates = {name: spread([FRAMES / each for each in values]) for name, values in seconds.items()}
    return {"ratio_video": median_ratio(seconds["pyav"], seconds["source"])}, dict(rates)


def alone(path: Path) -> Iterator[NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


def decoding_seconds(frames: Iterator[object]) -> float:
    begun = time.perf_counter()
    assert sum(1 for _ in frames) == FRAMES
    return time.perf_counter() - begun


async def encoding_seconds(path: Path) -> float:
    begun = time.perf_counter()
    async with aclosing(VideoSource(path, Playback(), SystemClock()).offers(lambda _: False)) as offers:
        pictures = [offer async for offer in offers]
    seconds = time.perf_counter() - begun
    assert len(pictures) == FRAMES
    assert all(isinstance(offer, Picture) for offer in pictures)
    return seconds


def make_video(path: Path) -> None:
    """A drifting textured background with moving discs, so that the codec has motion to encode."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(40, 216, (40, 70, 3), dtype=np.uint8)
    backdrop = cv2.resize(coarse, (WIDTH + 2 * FRAMES, HEIGHT), interpolation=cv2.INTER_CUBIC)
    backdrop = np.clip(backdrop + rng.normal(0, 4, backdrop.shape), 0, 255).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(FRAMES):
            picture = np.ascontiguousarray(backdrop[:, 2 * number : 2 * number + WIDTH])
            for disc in range(8):
                center = (200 * disc + 9 * number) % WIDTH, 100 + 110 * disc
                cv2.circle(picture, center, 60, (30 * disc, 255 - 30 * disc, 90), -1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
