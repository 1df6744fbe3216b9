"""Pictures and frames for tests: seeded, small, and never two alike."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from processors.frame import Frame, thaw
from schemas.events import Kind
from tests.support.events import frame_event

START = datetime(2026, 11, 1, 12, tzinfo=UTC)
Format = Literal["jpeg", "png", "webp"]


def scene(seed: int, width: int = 160, height: int = 120) -> NDArray[np.uint8]:
    """RGB [height, width, 3]: a few colored discs on a gradient."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    canvas = np.stack([(x * 160 / width), (y * 160 / height), np.full_like(x, 60)], axis=-1).astype(np.uint8)
    for _ in range(4):
        center = (int(rng.integers(width)), int(rng.integers(height)))
        color = tuple(float(value) for value in rng.integers(0, 256, 3))
        cv2.circle(canvas, center, int(rng.integers(8, max(height // 4, 9))), color, -1)
    return canvas


def encoded(pixels: NDArray[np.uint8], kind: Format = "jpeg", quality: int = 95) -> bytes:
    suffix = {"jpeg": ".jpg", "png": ".png", "webp": ".webp"}[kind]
    return cv2.imencode(suffix, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])[
        1
    ].tobytes()


def frame(
    picture: bytes,
    *,
    feed: str = "lobby",
    kind: Kind = "still",
    number: int = 0,
    seconds: float = 0.0,
    pixels: NDArray[np.uint8] | None = None,
) -> Frame:
    """A frame as the runtime hands it over; with `pixels` as the decode stage leaves it."""
    height, width = pixels.shape[:2] if pixels is not None else (0, 0)
    when, image = START + timedelta(seconds=seconds), {"width": width, "height": height}
    event = frame_event(
        f"test:{number}", picture, feed=feed, kind=kind, ingested=when, captured=when, inline=False, image=image
    )
    made = thaw(event)
    made.original, made.pixels = picture, pixels
    return made


def decoded(seed: int, **settings: object) -> Frame:
    """A still frame with the pixels of `scene(seed)`."""
    return frame(b"picture %d" % seed, number=seed, pixels=scene(seed))
