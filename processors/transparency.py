"""Transparent pixels: a picture is put on a ground, because models and thumbnails know none."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from processors.opencv import cv2

Image = NDArray[np.uint8]
LIGHT, DARK = 255, 64
"""White is the ground of nearly every page. A drawing that is itself nearly white would vanish on it."""
_NEARLY_WHITE = 230
_LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601."""


def on_ground(pixels: NDArray[np.uint8]) -> Image:
    """RGB [H, W, 3] of RGBA [H, W, 4]. The colors behind fully transparent pixels never show."""
    color, alpha = np.ascontiguousarray(pixels[..., :3]), np.ascontiguousarray(pixels[..., 3])
    if alpha.min(initial=255) == 255:
        return color
    weight = cv2.merge((alpha, alpha, alpha))
    ground = np.rint(_ground(color, alpha) * (255 - np.arange(256)) / 255).astype(np.uint8)
    shown = cv2.add(cv2.multiply(color, weight, scale=1 / 255), cv2.LUT(weight, ground))
    return shown.astype(np.uint8, copy=False)


def _ground(color: Image, alpha: Image) -> int:
    """Light, unless what is visible is nearly white."""
    visible = cv2.mean(color, mask=alpha)[:3]
    return DARK if float(np.dot(visible, _LUMA)) > _NEARLY_WHITE else LIGHT
