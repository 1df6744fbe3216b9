"""Small videos for tests, made with PyAV: every frame differs, and its brightness gives its number."""

from __future__ import annotations

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
) -> Path:
    """A gray ramp over time with one white quarter (top left), so that a wrong rotation is visible."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for number in range(frames):
            picture = np.full((height, width, 3), STEP * number, np.uint8)
            picture[: height // 4, : width // 4] = 255
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return path


def number_of(rgb: NDArray[np.uint8]) -> int:
    """The number of a frame of `write_video`, from its lower right quarter."""
    height, width = rgb.shape[:2]
    return round(float(rgb[height // 2 :, width // 2 :].mean()) / STEP)
