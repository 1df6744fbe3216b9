"""`sightline.json` and `reference.jpg` beside a checkpoint: what the model is, and its answer to one picture.

    {"revision": "…", "fit": "pad", "words": ["red", …], "expected": …, "tolerance": {"cosine": 0.99}}

Both files are optional. Where they exist, the weights are checked against them when they are loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from processors.errors import WrongWeights

Fit = Literal["crop", "pad", "stretch"]
CARD_FILE, REFERENCE_FILE = "sightline.json", "reference.jpg"


class ModelCard(msgspec.Struct, kw_only=True):
    """The content of `sightline.json`."""

    revision: str
    fit: Fit = "pad"
    words: tuple[str, ...] = ()
    """What the model was trained on; empty: not stated. `search.vocabulary` reads it."""
    expected: Any = None
    """The output on the reference picture, in the form that the adapter's `check_reference` describes."""
    tolerance: dict[str, float] = {}
    pooling: Literal["first", "mean"] = "first"
    """ViT alone: whether its vector is the first token or the mean of the patches."""


def read_card(folder: Path) -> ModelCard | None:
    """The card of a checkpoint, or None. Raises `WrongWeights` when it cannot be read."""
    path = folder / CARD_FILE
    if not path.is_file():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=ModelCard)
    except msgspec.DecodeError as error:
        raise WrongWeights(f"{path}: {error}") from error


def reference_picture(folder: Path) -> NDArray[np.uint8]:
    """RGB [height, width, 3]. Raises `WrongWeights` when it is missing or damaged."""
    from processors.opencv import cv2  # not at module level: a card is read by commands that need no OpenCV

    picture = cv2.imread(str(folder / REFERENCE_FILE), cv2.IMREAD_COLOR_RGB)
    if picture is None:
        raise WrongWeights(f"{folder / REFERENCE_FILE}: missing or damaged")
    return np.asarray(picture, np.uint8)


def check_vector(folder: Path, card: ModelCard, vector: NDArray[np.float32]) -> None:
    """Compare the reference picture's unit vector [d] with `card.expected` (a list of d numbers).

    Raises `WrongWeights` when their cosine is below `tolerance["cosine"]` (0.99 without one).
    """
    expected = np.asarray(card.expected, np.float32)
    if expected.shape != vector.shape:
        raise WrongWeights(f"{folder}: vectors of {vector.size} numbers, {CARD_FILE} says {expected.size}")
    cosine = float(expected @ vector) / max(float(np.linalg.norm(expected)), 1e-6)
    if not cosine >= card.tolerance.get("cosine", 0.99):
        raise WrongWeights(
            f"{folder}: wrong vector of the reference picture, its cosine to {CARD_FILE}'s is {cosine:.3f}"
        )


def check_revision(folder: Path, card: ModelCard, revision: str) -> None:
    """Raise `WrongWeights` when the files have another revision than the card."""
    if card.revision != revision:
        raise WrongWeights(f"{folder}: the files are revision {revision}, {CARD_FILE} names {card.revision}")
