"""Whether a picture is like those that a model was trained on: a check that lies beside weights of a small world.

Statistics of the picture at the size that the model sees go through one hidden layer. They are those in which rendered
scenes differ from photographs: the energy of each spatial frequency (means of DCT coefficients, as natural images have
a spectrum of their own, Field 1987), its distribution over the blocks, saturation and brightness. Weights that were
trained on the whole world have no such file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from processors.errors import WrongWeights
from processors.opencv import cv2

DOMAIN_FILE = "domain.safetensors"
SIDE = 128
"""The longer side, in pixels, at which statistics are taken."""
BLOCK = 8
CHROMA_FREQUENCIES = 4
"""Of each direction: higher frequencies of chroma are lost in a JPEG."""
SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles of the blocks' energy."""
HISTOGRAM_BINS = 8
FLOOR = 0.05
"""Added to a mean coefficient (of 255) before its logarithm."""
FARTHEST = 8.0
"""Statistics are clipped to this many standard deviations."""

Image = NDArray[np.uint8]
Array = NDArray[np.float32]
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Domain:
    """The check: statistics [d] are normalized by `mean` and `deviation`; a score above `limit` is outside."""

    mean: Array
    deviation: Array
    hidden: Array
    """[d + 1, h]: weights, and in the last row the biases."""
    output: Array
    """[h + 1]"""
    limit: float

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """The check beside the weights in `folder`; None without one. Raises `WrongWeights` for a damaged file."""
        path = folder / DOMAIN_FILE
        if not path.is_file():
            return None
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            stored = load_file(path)
            limit = float(stored.pop("limit")[0])
            return cls(**stored, limit=limit)
        except (SafetensorError, KeyError, TypeError) as error:
            raise WrongWeights(f"{path}: damaged; install or pull the weights again: {error}") from error

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save

        arrays = {name: getattr(self, name) for name in ("mean", "deviation", "hidden", "output")}
        arrays["limit"] = np.array([self.limit], np.float32)
        contiguous = {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}
        (folder / DOMAIN_FILE).write_bytes(save(contiguous))

    def normalized(self, rows: Array) -> Array:
        """Statistics [n, d] in standard deviations of the model's own world."""
        return np.asarray(np.clip((rows - self.mean) / self.deviation, -FARTHEST, FARTHEST), np.float32)

    def scores(self, rows: Array) -> Array:
        """Of statistics [n, d]: the higher, the less like the model's world."""
        hidden = np.maximum(self.normalized(rows) @ self.hidden[:-1] + self.hidden[-1], 0)
        return np.asarray(hidden @ self.output[:-1] + self.output[-1], np.float32)

    def outside(self, images: Sequence[Image]) -> NDArray[np.bool_]:
        """Which of the pictures, uint8 RGB [height, width, 3], are unlike those of the model's world."""
        return self.scores(statistics(images)) > self.limit


def outside(domain: Domain | None, images: Sequence[Image]) -> NDArray[np.bool_]:
    """As `Domain.outside`; without a check, no picture is."""
    return domain.outside(images) if domain and images else np.zeros(len(images), np.bool_)


def answers(
    domain: Domain | None, images: Sequence[Image], ask: Callable[[Sequence[int]], Sequence[Answer]]
) -> list[Answer | None]:
    """What `ask` says of the pictures in the given rows, of all that are in the domain; None of the others."""
    inside = [row for row, strange in enumerate(outside(domain, images)) if not strange]
    found: list[Answer | None] = [None] * len(images)
    for row, answer in zip(inside, ask(inside), strict=True):
        found[row] = answer
    return found


def statistics(images: Sequence[Image]) -> Array:
    """Of each picture, uint8 RGB [height, width, 3]: float32 [n, d]."""
    return np.stack([_statistics(_scaled(image)) for image in images])


def _scaled(image: Image) -> Image:
    height, width = image.shape[:2]
    scale = SIDE / max(height, width)
    size = max(BLOCK, round(width * scale)), max(BLOCK, round(height * scale))
    return np.asarray(
        cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR), np.uint8
    )


def _statistics(image: Image) -> Array:
    planes = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb).astype(np.float32)
    parts = [_energies(planes[..., channel], BLOCK if channel == 0 else CHROMA_FREQUENCIES) for channel in range(3)]
    saturation, brightness = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2HSV))[1:]
    shares = [np.histogram(plane, HISTOGRAM_BINS, (0, 256))[0] / plane.size for plane in (saturation, brightness)]
    return np.concatenate([*parts, *shares]).astype(np.float32)


def _energies(plane: Array, frequencies: int) -> Array:
    """Logarithms of the lowest coefficients' means, and of the quantiles of the blocks' sums without their mean."""
    rows, columns = plane.shape[0] // BLOCK, plane.shape[1] // BLOCK
    blocks = plane[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK).swapaxes(1, 2)
    coefficients = np.abs(_BASIS @ blocks @ _BASIS.T).reshape(-1, BLOCK, BLOCK)
    means = coefficients.mean(axis=0)[:frequencies, :frequencies]
    sums = coefficients.sum(axis=(1, 2)) - coefficients[:, 0, 0]
    return np.concatenate([np.log(means + FLOOR).ravel(), np.log(np.quantile(sums, SHARES) + 1)]).astype(np.float32)


def _dct_basis() -> Array:
    """The orthonormal DCT-II [frequency, sample]."""
    sample, frequency = np.meshgrid(np.arange(BLOCK), np.arange(BLOCK))
    basis = np.cos(np.pi * (2 * sample + 1) * frequency / (2 * BLOCK)) * np.sqrt(2 / BLOCK)
    basis[0] /= np.sqrt(2)
    return np.asarray(basis, np.float32)


_BASIS = _dct_basis()
