"""How far what is said of a picture (caption, labels, keywords) bears out what is asked for.

Vectors are sure of what a picture is about and vague on what is where; a caption is exact and misses things. So the
share of a query's terms that nobody said of a picture is one more feature of the calibration.
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
    """The share of each text's terms ("red circle", "cartoon") that nobody said of each picture: [texts, pictures],
    0 to 1, NaN where nothing is said of the picture at all. Payloads are those of `schemas.points`."""
    said = [(set(found.get("words") or ()), set(found.get("compound") or ())) for found in payloads]
    asked = [content_terms(text.replace(",", " , ").split()) for text in texts]
    found = [[_share(terms, *one) for one in said] for terms in asked]
    return np.array(found, np.float32).reshape(len(texts), len(payloads))


def said_of(caption: str, labels: Sequence[str]) -> dict[str, Any]:
    """What `schemas.points` holds of a picture with this caption and these labels, as far as `unsaid` looks at it."""
    texts = [caption, *labels]
    return {
        "words": [word for text in texts for word in words(text)],
        "compound": [pair for text in texts for pair in pairs(text)],
    }


def _share(terms: Sequence[Sequence[str]], said: Collection[str], joined: Collection[str]) -> float:
    if not said:
        return float("nan")
    missing = [not _said(term, said, joined) for term in terms]
    return sum(missing) / max(len(missing), 1)


def _said(term: Sequence[str], said: Collection[str], joined: Collection[str]) -> bool:
    return all(word in said for word in term) and all(f"{left} {right}" in joined for left, right in pairwise(term))
