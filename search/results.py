"""The result of a search."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class SearchHit(Struct, frozen=True, kw_only=True):
    """One picture of a result. `score` is a cosine; `probability` is None while the models are uncalibrated."""

    id: str
    score: float
    probability: float | None
    payload: dict[str, Any]


class Contents(Struct, frozen=True, kw_only=True):
    """What the index holds, for a result without a match: counts of pictures, most frequent first."""

    pictures: int
    feeds: dict[str, int]
    labels: dict[str, int]
    phrases: dict[str, int]


class SearchResult(Struct, frozen=True, kw_only=True):
    """`hits`, best first, all above the threshold where models are calibrated."""

    text: str
    """The text that was searched: the query without its negatives and without words that the models do not know."""
    negatives: tuple[str, ...] = ()
    hits: tuple[SearchHit, ...] = ()
    calibrated: bool = False
    nothing_matches: bool = False
    best: float | None = None
    """The highest probability of all candidates, also where nothing matches."""
    unknown_words: tuple[str, ...] = ()
    contents: Contents | None = None
    """Where nothing matches."""
