"""What is behind the things: textured walls and floors, the light's gradient, and the sensor's noise."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from tinyworld.scenes import Background, Style, sample_background

Field = npt.NDArray[np.float32]
NOISE_SIDE = 1024
"""Noise is a random section of one fixed field: sampling it for each picture would cost more than the rest of it."""


@lru_cache(maxsize=64)
def backdrop(background: Background, style: Style, other: int, width: int, height: int) -> npt.NDArray[np.uint8]:
    """Wall and floor, [height, width, 3]; with `other` not 0, those that another camera sees. Do not write to it."""
    if other:
        background = sample_background(np.random.default_rng([background.seed, other]))
    rng = np.random.default_rng(background.seed)
    canvas = np.empty((height, width, 3), np.float32)
    horizon = round(background.horizon * height)
    canvas[:horizon], canvas[horizon:] = background.wall, background.floor
    relief = _texture(background.texture, rng, width, height, flat=style == "cartoon")
    canvas += relief[..., None] * (1.0 if style == "photo" else 0.8)
    if style == "photo":
        canvas += _cloud(rng, width, height, 5)[..., None] * 14.0
    return np.clip(canvas, 0, 255).astype(np.uint8)


def _texture(kind: str, rng: np.random.Generator, width: int, height: int, *, flat: bool) -> Field:
    """A relief around zero, about 20 gray levels deep, [height, width]."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    period, angle = rng.uniform(14, 44), rng.uniform(0, np.pi)
    if kind == "stripes":
        wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period)
        return np.asarray(np.sign(wave) * 10.0 if flat else wave * 12.0, np.float32)
    if kind == "bricks":
        row = np.floor(y / (period / 2))
        joint = (np.mod(y, period / 2) < 2) | (np.mod(x + row * period / 2, period) < 2)
        return np.asarray(np.where(joint, -22.0, 4.0), np.float32)
    if kind == "dots":
        near = np.hypot(np.mod(x, period) - period / 2, np.mod(y, period) - period / 2)
        return np.asarray(np.where(near < period / 5, 16.0, -3.0), np.float32)
    if kind == "grain" and not flat:
        return np.asarray(_cloud(rng, width, height, 40) * 9.0 + _cloud(rng, width, height, 12) * 9.0, np.float32)
    return np.zeros((height, width), np.float32)


def _cloud(rng: np.random.Generator, width: int, height: int, cells: int) -> Field:
    coarse = rng.standard_normal((max(cells * height // width, 2), cells)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


@lru_cache(maxsize=128)
def light_field(width: int, height: int, direction: int) -> Field:
    """A plane from -1 to 1 rising towards `direction` (degrees), [height, width]. Do not write to it."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    radians = np.deg2rad(direction)
    plane = x * np.cos(radians) + y * np.sin(radians)
    return np.asarray(plane / np.abs(plane).max(), np.float32)


@lru_cache(maxsize=1)
def _noise_field() -> Field:
    return np.random.default_rng(7).standard_normal((NOISE_SIDE, NOISE_SIDE, 3), dtype=np.float32)


def noise_tile(rng: np.random.Generator, width: int, height: int) -> Field:
    """Standard normal noise, [height, width, 3], a view of one fixed field when the picture is smaller than it."""
    if width > NOISE_SIDE or height > NOISE_SIDE:
        return rng.standard_normal((height, width, 3), dtype=np.float32)
    top, left = rng.integers(NOISE_SIDE - height + 1), rng.integers(NOISE_SIDE - width + 1)
    return _noise_field()[top : top + height, left : left + width]
