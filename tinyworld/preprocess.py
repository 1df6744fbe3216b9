"""The reference implementation of `fit="pad"`, the preprocessing that the checkpoints were trained with.

The picture is scaled so that its longer side equals the model's size (OpenCV's INTER_AREA to shrink, INTER_LINEAR to
grow; the shorter side rounded, at least 1), normalized with mean and standard deviation 0.5, and centered on zeros:
padding is the mean color, which is zero after normalization. The offset of an odd remainder is rounded down.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]


def scaled(image: Image, size: int) -> Image:
    """The picture [H, W, 3] with its longer side at `size` pixels."""
    height, width = image.shape[:2]
    factor = size / max(height, width)
    target = (max(round(width * factor), 1), max(round(height * factor), 1))
    if target == (width, height):
        return image
    return np.asarray(
        cv2.resize(image, target, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR), np.uint8
    )


def padded(images: Sequence[Image], size: int) -> npt.NDArray[np.float32]:
    """Pictures [H, W, 3] uint8 RGB as a batch [n, 3, size, size], normalized to -1..1 and padded with zeros."""
    batch = np.zeros((len(images), 3, size, size), np.float32)
    for index, image in enumerate(images):
        small = scaled(image, size)
        height, width = small.shape[:2]
        top, left = (size - height) // 2, (size - width) // 2
        batch[index, :, top : top + height, left : left + width] = small.transpose(2, 0, 1) / np.float32(127.5) - 1
    return batch
