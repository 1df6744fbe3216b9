"""The models that a search uses; the adapters under `processors/models/` fit, and nothing here loads one.

All calls are synchronous and made from one thread at a time. Vectors are float32 of unit length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from search.calibrate import Calibration
from search.vocabulary import Vocabulary

Array = NDArray[np.float32]
Pixels = NDArray[np.uint8]
"""RGB [height, width, 3], upright."""


class PictureModel(Protocol):
    """A model that embeds pictures."""

    def embed_images(self, images: Sequence[Pixels]) -> Array:
        """Vectors [n, d]."""


class TextAndPictureModel(PictureModel, Protocol):
    """A dual encoder: texts and pictures share one space."""

    def embed_texts(self, texts: Sequence[str]) -> Array:
        """Vectors [n, d] in the same space as the pictures'."""


class ImageFeatures(Protocol):
    """A matcher's features of one picture, which may be cached."""

    @property
    def nbytes(self) -> int: ...


class Matcher(Protocol):
    """A cross-encoder: a model that reads a text and a picture together, slower and more accurate than two vectors."""

    def encode_images(self, images: Sequence[Pixels]) -> Sequence[ImageFeatures]:
        """Features of each picture: most of the work."""

    def match_features(self, texts: Sequence[str], features: Sequence[Any]) -> Array:
        """Log-odds [n] that each text is true of the picture whose features (this matcher's own) stand beside it."""


@dataclass(frozen=True, slots=True)
class SearchModels:
    """The models of one deployment's searches, with what is known of them."""

    semantic: TextAndPictureModel
    visual: PictureModel | None = None
    """Compares pictures with pictures; without one, `semantic` does."""
    matcher: Matcher | None = None
    """Re-ranks the nearest pictures, where the calibration has curves for its outputs."""
    calibration: Calibration | None = None
    vocabulary: Vocabulary = field(default_factory=Vocabulary)
