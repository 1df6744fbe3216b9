"""Small videos for tests, made with PyAV: every frame differs, and its brightness gives its number."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

STEP = 8
"""Frame `n` has a mean of about 8·n: far enough apart for lossy codecs."""


def write_video(
    path: Path,
    *,
    frames: int = 20,
    fps: int = 10,
    codec: str = "libx264",
    rotation: int | None = None,
    width: int = 160,
    height: int = 96,
    first: int = 0,
    detailed: bool = False,
    keyframes: int | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """A gray ramp over time with one white quarter (top left), so that a wrong rotation is visible.

    `first` is the first frame's time stamp in frames; a keyframe comes every `keyframes`; `options` are the muxer's.
    With `detailed` the upper right quarter is noise, so that frames have some kilobytes.
    """
    noise = np.random.default_rng(1).integers(0, 255, (frames, height // 2, width // 2, 3), np.uint8)
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        if keyframes is not None:
            stream.gop_size = keyframes
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for number in range(frames):
            picture = np.full((height, width, 3), STEP * number, np.uint8)
            picture[: height // 4, : width // 4] = 255
            if detailed:
                picture[: height // 2, width // 2 :] = noise[number]
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = first + number, Fraction(1, fps)
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return path


def number_of(rgb: NDArray[np.uint8]) -> int:
    """The number of a frame of `write_video`, from its lower right quarter."""
    height, width = rgb.shape[:2]
    return round(float(rgb[height // 2 :, width // 2 :].mean()) / STEP)
