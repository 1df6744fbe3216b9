"""How far what is said of a picture (caption, labels, keywords) bears out what is asked for.

Vectors are sure of what a picture is about and vague on what is where; a caption is exact and misses things. The
number of words and pairs of a query that nobody said of a picture is one more feature of the calibration.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from schemas.words import pairs, words
from search.calibrate import Array
from search.words import content_terms


def unsaid(texts: Sequence[str], payloads: Sequence[Mapping[str, Any]]) -> Array:
    """Of each text's words, and pairs of words that belong together, the number that is not said of each picture:
    [texts, pictures], NaN where nothing is said of the picture at all. Payloads are those of `schemas.points`."""
    said = [(set(found.get("words") or ()), set(found.get("compound") or ())) for found in payloads]
    return np.array([[_missing(text, *one) for one in said] for text in texts], np.float32).reshape(
        len(texts), len(payloads)
    )


def said_of(caption: str, labels: Sequence[str]) -> dict[str, Any]:
    """What `schemas.points` holds of a picture with this caption and these labels, as far as `unsaid` looks at it."""
    texts = [caption, *labels]
    return {
        "words": [word for text in texts for word in words(text)],
        "compound": [pair for text in texts for pair in pairs(text)],
    }


def _missing(text: str, said: Collection[str], joined: Collection[str]) -> float:
    if not said:
        return float("nan")
    terms = content_terms(text.replace(",", " , ").split())
    alone = sum(word not in said for term in terms for word in term)
    return float(alone + sum(f"{left} {right}" not in joined for term in terms for left, right in pairwise(term)))
