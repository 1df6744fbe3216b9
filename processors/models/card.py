"""`sightline.json` and `reference.jpg` beside a checkpoint: what it is, and what it answers to one picture.

    {"revision": "…", "fit": "pad", "words": ["red", …], "expected": …, "tolerance": {"cosine": 0.99}}

Own weights need none of it. Where it is, loading holds the weights to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from processors.errors import WrongWeights

Fit = Literal["crop", "pad", "stretch"]
NAME, PICTURE = "sightline.json", "reference.jpg"


class Card(msgspec.Struct, kw_only=True):
    revision: str
    fit: Fit = "pad"
    words: tuple[str, ...] = ()
    """What the model was trained on; empty: not said."""
    expected: Any = None
    """The output on the reference picture, as the adapter's `check_reference` says."""
    tolerance: dict[str, float] = {}
    pooling: Literal["first", "mean"] = "first"
    """ViT alone: whether its vector is the first token or the mean of the patches."""


def read_card(folder: Path) -> Card | None:
    """The card of a checkpoint, or None. Raises `WrongWeights` when it cannot be read."""
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Card)
    except msgspec.DecodeError as error:
        raise WrongWeights(f"{path}: {error}") from error


def reference_picture(folder: Path) -> NDArray[np.uint8]:
    """RGB [height, width, 3]. Raises `WrongWeights` when it is missing or damaged."""
    picture = cv2.imread(str(folder / PICTURE), cv2.IMREAD_COLOR_RGB)
    if picture is None:
        raise WrongWeights(f"{folder / PICTURE}: missing or damaged")
    return np.asarray(picture, np.uint8)


def check_vector(folder: Path, card: Card, vector: NDArray[np.float32]) -> None:
    """Hold the reference picture's unit vector to `card.expected` (a list) by their cosine, `tolerance["cosine"]`."""
    expected = np.asarray(card.expected, np.float32)
    if expected.shape != vector.shape:
        raise WrongWeights(f"{folder}: vectors of {vector.size} numbers, {NAME} says {expected.size}")
    cosine = float(expected @ vector) / max(float(np.linalg.norm(expected)), 1e-6)
    if not cosine >= card.tolerance.get("cosine", 0.99):
        raise WrongWeights(f"{folder}: wrong vector of the reference picture, its cosine to {NAME}'s is {cosine:.3f}")


def check_revision(folder: Path, card: Card, revision: str) -> None:
    if card.revision != revision:
        raise WrongWeights(f"{folder}: the files are revision {revision}, {NAME} names {card.revision}")


def unknown_words(card: Card | None, words: Sequence[str]) -> tuple[str, ...]:
    """Those of `words` that the model was not trained on; none where the card does not say."""
    if card is None or not card.words:
        return ()
    known = {part for word in card.words for part in word.lower().split()}
    return tuple(word for word in words if word.lower() not in known)
