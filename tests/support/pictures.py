"""Pictures and frames for tests: seeded, small, and never two alike."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from processors.frame import Frame
from schemas.events import ImageRef, Kind
from schemas.identity import frame_id

START = datetime(2026, 11, 1, 12, tzinfo=UTC)
Format = Literal["jpeg", "png", "webp"]


def scene(seed: int, width: int = 160, height: int = 120) -> NDArray[np.uint8]:
    """RGB [height, width, 3]: a few coloured discs on a gradient."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    canvas = np.stack([(x * 160 / width), (y * 160 / height), np.full_like(x, 60)], axis=-1).astype(np.uint8)
    for _ in range(4):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        colour = tuple(float(value) for value in rng.integers(0, 256, 3))
        cv2.circle(canvas, centre, int(rng.integers(8, max(height // 4, 9))), colour, -1)
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
    position = f"test:{number}"
    height, width = pixels.shape[:2] if pixels is not None else (0, 0)
    image = ImageRef(
        format="jpeg", sha256=sha256(picture).hexdigest(), size_bytes=len(picture), width=width, height=height
    )
    when = START + timedelta(seconds=seconds)
    return Frame(
        id=frame_id("default", feed, position),
        tenant="default",
        feed=feed,
        kind=kind,
        position=position,
        ingested=when,
        captured=when,
        image=image,
        original=picture,
        pixels=pixels,
    )


def decoded(seed: int, **settings: object) -> Frame:
    """A still frame with the pixels of `scene(seed)`."""
    return frame(b"picture %d" % seed, number=seed, pixels=scene(seed))
