"""What a search asks of models; the adapters under `processors/models/` fit, and nothing here loads one.

All calls are synchronous and made from one thread at a time. Vectors are float32 of unit length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Pixels = NDArray[np.uint8]
"""RGB [height, width, 3], upright."""


class PictureModel(Protocol):
    def embed_images(self, images: Sequence[Pixels]) -> Array:
        """Vectors [n, d]."""


class TextAndPictureModel(PictureModel, Protocol):
    def embed_texts(self, texts: Sequence[str]) -> Array:
        """Vectors [n, d] in the same space as the pictures'."""


class ImageFeatures(Protocol):
    """What a matcher saw in one picture; it may be kept."""

    @property
    def nbytes(self) -> int: ...


class Matcher(Protocol):
    """A model that reads a text and a picture together, slower and righter than two vectors."""

    def encode_images(self, images: Sequence[Pixels]) -> Sequence[ImageFeatures]:
        """One look a picture: most of the work."""

    def match_features(self, texts: Sequence[str], looks: Sequence[Any]) -> Array:
        """Log-odds [n] that each text is true of the look (one of its own) beside it."""
