"""The protocol of a vector index: few calls, the same for Qdrant Edge and a Qdrant server.

Collections are addressed by name; a name may be an alias. All calls are coroutines and raise
`StoreUnavailable` when the index is unavailable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Vector = NDArray[np.float32]
PayloadType = Literal["keyword", "integer", "float", "bool", "datetime", "text"]


class CollectionSpec(Struct, frozen=True, kw_only=True):
    """A collection's contract: vectors by name with their sizes (cosine), indexed payload fields with their types."""

    name: str
    vectors: dict[str, int]
    payload: dict[str, PayloadType]


class Point(Struct, frozen=True, kw_only=True, eq=False):
    """`id` is a UUID string; `vectors` are float32 [size], finite and not zero."""

    id: str
    vectors: dict[str, Vector]
    payload: dict[str, Any]


class Match(Struct, frozen=True, kw_only=True):
    """A condition on one payload field; list fields match if any of their values does.

    It needs values or bounds: a condition without any is Refused, since every point would meet it. In a `text` field a
    value matches where all of its words occur. `bool` fields take boolean values, and no other field does.
    """

    field: str
    any_of: tuple[str | int | bool, ...] = ()
    at_least: float | str | None = None
    at_most: float | str | None = None
    below: float | str | None = None
    """Bounds are numbers, or RFC 3339 times for `datetime` fields; `below` is at most and not equal."""


class Filter(Struct, frozen=True, kw_only=True):
    """All of `must` and none of `must_not`."""

    must: tuple[Match, ...] = ()
    must_not: tuple[Match, ...] = ()


class Hit(Struct, frozen=True, kw_only=True):
    """One point of a result; `score` is the cosine.

    `vectors` are filled on request alone, as float32 bytes by name, scaled to unit length by the index.
    """

    id: str
    score: float
    payload: dict[str, Any]
    vectors: dict[str, bytes] = {}


class Verified(Struct, frozen=True):
    """What was read of a collection."""

    points: int
    damaged: tuple[str, ...]
    """Ids of points that are not as they were written."""
    missing: int = 0
    """The number of points that are known to be lost; their ids are not."""


class Index(Protocol):
    """Any call on a collection that does not exist raises Missing."""

    async def ensure(self, collection: CollectionSpec, alias: str | None = None) -> None:
        """Create the collection and its payload indexes if missing, and point `alias` at it.

        Raises WrongLayout naming each difference to an existing one.
        """

    async def upsert(self, collection: str, points: Sequence[Point]) -> None:
        """Write points and return when acknowledged. Raises Refused for a wrong size, NaN, infinity or zero."""

    async def delete(self, collection: str, where: Filter) -> None:
        """Delete every matching point (by frame: `Match(field="frame", any_of=(id,))`)."""

    async def search(
        self,
        collection: str,
        vector_name: str,
        vector: Vector,
        *,
        where: Filter | None = None,
        limit: int = 10,
        with_vectors: Sequence[str] = (),
    ) -> Sequence[Hit]:
        """The nearest points by cosine, best first."""

    async def get(self, collection: str, ids: Sequence[str], *, with_vectors: Sequence[str] = ()) -> Sequence[Hit]:
        """Points by id, in any order, missing ones left out; the score is 0."""

    async def scroll(
        self, collection: str, *, where: Filter | None = None, limit: int = 100, after: str | None = None
    ) -> tuple[Sequence[Hit], str | None]:
        """A page of points in id order, and the cursor of the next page or None."""

    async def latest(
        self, collection: str, field: str, *, where: Filter | None = None, limit: int = 100, after: str | None = None
    ) -> tuple[Sequence[Hit], str | None]:
        """A page of points, latest first by the `datetime` field `field`, and the cursor of the next page or None.

        Times are compared as instants, to the microsecond; equal ones are in id order. Points without the field are
        left out. Raises Refused for a cursor that is none.
        """

    async def count(self, collection: str, where: Filter | None = None) -> int:
        """The exact number of matching points."""
        ...

    async def facet(
        self, collection: str, field: str, *, where: Filter | None = None, limit: int = 50
    ) -> Mapping[str, int]:
        """How many points have each value of a keyword field, most frequent first."""

    async def remove(self, collection: str) -> None:
        """Remove a collection, by its own name, with its points and aliases; a missing one is no error."""

    async def collections(self) -> Mapping[str, int]:
        """Collections and their number of points."""

    async def verify(self, collection: str) -> Verified:
        """Read every point of the collection. A server verifies its own files: there, only the points are counted."""
        ...

    async def flush(self) -> None:
        """Return once everything acknowledged before this call survives a power cut; offset commits wait for it."""

    async def close(self) -> None: ...
