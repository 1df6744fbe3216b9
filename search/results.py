"""What a search answers."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class Found(Struct, frozen=True, kw_only=True):
    """A picture found. `score` is a cosine; `probability` is None as long as the models are uncalibrated."""

    id: str
    score: float
    probability: float | None
    payload: dict[str, Any]


class Contents(Struct, frozen=True, kw_only=True):
    """What the index holds, said when nothing matches: counts of pictures, most frequent first."""

    pictures: int
    feeds: dict[str, int]
    labels: dict[str, int]
    phrases: dict[str, int]


class SearchResult(Struct, frozen=True, kw_only=True):
    """`hits`, best first, all above the threshold where models are calibrated."""

    text: str
    """What was looked for: the query without its negatives and without words that the models do not know."""
    negatives: tuple[str, ...] = ()
    hits: tuple[Found, ...] = ()
    calibrated: bool = False
    nothing_matches: bool = False
    best: float | None = None
    """The highest probability of all pictures looked at, also where nothing matches."""
    unknown_words: tuple[str, ...] = ()
    contents: Contents | None = None
    """Where nothing matches."""
