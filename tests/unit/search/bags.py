"""Vectors made by hand: a text is the sum of fixed directions of its words and pairs, a picture of its caption's.

Pictures and texts lie where a good model would put them, so that the search is tested and not a model.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from schemas.words import pairs, words
from search.calibrate import unit
from search.models import Array, Pixels

DIMENSION = 256


class Bags:
    """A `TextAndPictureModel`; `show` says what a picture is of."""

    def __init__(self) -> None:
        self._captions: dict[bytes, str] = {}
        self.embedded: list[str] = []

    def show(self, pixels: Pixels, caption: str) -> None:
        self._captions[pixels.tobytes()] = caption

    def embed_texts(self, texts: Sequence[str]) -> Array:
        self.embedded += texts
        return unit(np.stack([bag(text) for text in texts]))

    def embed_images(self, images: Sequence[Pixels]) -> Array:
        return unit(np.stack([bag(self._captions.get(image.tobytes(), "nothing")) for image in images]))


def bag(text: str) -> Array:
    """All texts share one direction, as all vectors of a real model do."""
    parts = [*words(text), *pairs(text)]
    return np.sum([_direction(part) for part in parts], axis=0, dtype=np.float32) + _direction("") * 1.5


def _direction(part: str) -> Array:
    return np.random.default_rng(zlib.crc32(part.encode())).standard_normal(DIMENSION).astype(np.float32)
