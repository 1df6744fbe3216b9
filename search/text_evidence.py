"""How far the texts of a picture (caption, labels, keywords) mention what a query looks for.

Vectors tell reliably what a picture is about and vaguely what is where; a caption is exact and incomplete. So the
share of a query's terms that no text of a picture mentions is one more feature of the calibration, `unsaid`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from schemas.words import pairs, words
from search.calibrate import Array
from search.vocabulary import content_terms


def unsaid_shares(texts: Sequence[str], payloads: Sequence[Mapping[str, Any]]) -> Array:
    """The share of each text's terms ("red circle", "cartoon") that a picture's texts do not mention.

    [texts, pictures], 0 to 1, NaN for a picture without any texts. Payloads are those of `schemas.points`.
    """
    mentioned = [(set(payload.get("words") or ()), set(payload.get("compound") or ())) for payload in payloads]
    queries = [content_terms(text.replace(",", " , ").split()) for text in texts]
    shares = [[_unsaid_share(terms, *words_and_pairs) for words_and_pairs in mentioned] for terms in queries]
    return np.array(shares, np.float32).reshape(len(texts), len(payloads))


def text_payload(caption: str, labels: Sequence[str]) -> dict[str, Any]:
    """The payload fields that `unsaid_shares` reads, of a picture with this caption and these labels."""
    texts = [caption, *labels]
    return {
        "words": [word for text in texts for word in words(text)],
        "compound": [pair for text in texts for pair in pairs(text)],
    }


def _unsaid_share(terms: Sequence[Sequence[str]], words: Collection[str], pairs: Collection[str]) -> float:
    if not words:
        return float("nan")
    unsaid = [not _mentions(words, pairs, term) for term in terms]
    return sum(unsaid) / max(len(unsaid), 1)


def _mentions(words: Collection[str], pairs: Collection[str], term: Sequence[str]) -> bool:
    return all(word in words for word in term) and all(f"{left} {right}" in pairs for left, right in pairwise(term))
