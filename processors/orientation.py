"""The eight orientations of a picture: EXIF's numbers and a video's display matrix share one table.

A camera stores its sensor's rows and says how to hold them: EXIF's tag 0x112 (CIPA DC-008 4.6.4), HEIF's `irot` and
`imir`, the matrix of an MP4 track (ISO/IEC 14496-12 8.3.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from processors.opencv import cv2

UPRIGHT = 1
"""The orientation of pixels that are stored as they are shown."""

MATRICES = MappingProxyType(
    {
        UPRIGHT: (1, 0, 0, 1),
        2: (-1, 0, 0, 1),
        3: (-1, 0, 0, -1),
        4: (1, 0, 0, -1),
        5: (0, 1, 1, 0),
        6: (0, 1, -1, 0),
        7: (0, -1, -1, 0),
        8: (0, -1, 1, 0),
    }
)
"""EXIF's number → (a, b, c, d): the stored pixel (x, y) is shown at (a·x + c·y, b·x + d·y), y pointing down."""


def orient(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """`pixels` [H, W] or [H, W, channels] as they are to be shown; any number but 2 to 8 leaves them as they are."""
    if orientation == UPRIGHT or orientation not in MATRICES:
        return pixels
    a, b, c, d = MATRICES[orientation]
    shown = pixels if a else cv2.transpose(pixels)
    mirrored, upside_down = a + c < 0, b + d < 0
    if mirrored or upside_down:
        shown = cv2.flip(shown, -1 if mirrored and upside_down else int(mirrored))
    return shown.astype(np.uint8, copy=False)


def turns_sides(orientation: int) -> bool:
    """Whether width and height change places."""
    return 5 <= orientation <= 8


def combine(first: int, second: int) -> int:
    """The orientation that shows pixels as `first` and then `second` do."""
    (a, b, c, d), (e, f, g, h) = MATRICES[first], MATRICES[second]
    product = (a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h)
    return next(number for number, matrix in MATRICES.items() if matrix == product)


def orientation_of_matrix(matrix: Sequence[int]) -> int:
    """The orientation of an MP4 display matrix (nine numbers, row by row, as FFmpeg's side data holds them).

    The scale does not count; a matrix between two orientations, which none of our decoders can show, is the nearest.
    """
    a, b, c, d = matrix[0], matrix[1], matrix[3], matrix[4]
    return max(MATRICES, key=lambda number: sum(x * y for x, y in zip(MATRICES[number], (a, b, c, d), strict=True)))
