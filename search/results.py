"""The result of a search."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct


class SearchHit(Struct, frozen=True, kw_only=True):
    """One picture of a result. `score` is a cosine; `probability` is None while the models are uncalibrated."""

    id: str
    score: float
    probability: float | None
    payload: dict[str, Any]
    similar: tuple[str, ...] = ()
    """Ids of nearly equal pictures of the same scene that this one stands for, where the query folds them."""


class Contents(Struct, frozen=True, kw_only=True):
    """What the index holds, for a result without a match: counts of pictures, most frequent first."""

    pictures: int
    feeds: dict[str, int]
    labels: dict[str, int]
    phrases: dict[str, int]


class UnknownName(Struct, frozen=True, kw_only=True):
    """A feed or label of a filter that the index does not have."""

    kind: Literal["feed", "label"]
    name: str
    nearest: tuple[str, ...] = ()
    """Names that it has, nearest first."""


class SearchResult(Struct, frozen=True, kw_only=True):
    """`hits`, best first, all above the threshold where models are calibrated; newest first without text or picture.

    The answer to the same query with a smaller limit is the start of this one, and fewer hits than the limit are all
    that there are.
    """

    text: str
    """The text that was searched: the query without its negatives and without words that the models do not know."""
    negatives: tuple[str, ...] = ()
    counts: tuple[str, ...] = ()
    """What is counted in each picture, as "2 circles" or "at least 2 circles"."""
    notes: tuple[str, ...] = ()
    """What was typed as logic and is not read so, as a sentence each."""
    hits: tuple[SearchHit, ...] = ()
    cursor: str = ""
    """Gives the next page; empty on the last one."""
    total: int = 0
    """The number of pictures that match, those of further pages and folded ones included."""
    total_is_exact: bool = False
    """Otherwise at least `total` match: a ranked answer is read no further than its pages."""
    ranked: bool = False
    """Whether hits are ordered by how well they match; otherwise the newest come first, and scores say nothing."""
    calibrated: bool = False
    nothing_matches: bool = False
    nothing_left: bool = False
    """Whether the query says nothing that can be looked for; then nothing matches."""
    best: float | None = None
    """The highest probability of the nearest candidates, also where nothing matches."""
    unknown_words: tuple[str, ...] = ()
    """Words, numbers and symbols of the query that are not understood and left out."""
    unknown_names: tuple[UnknownName, ...] = ()
    """Names in filters that the index does not have."""
    out_of_domain: int = 0
    """Pictures that the filters allow and that words do not find: unlike those that the models were trained on."""
    contents: Contents | None = None
    """Where nothing matches."""

    @property
    def more(self) -> bool:
        """Whether there is a further page."""
        return bool(self.cursor)
