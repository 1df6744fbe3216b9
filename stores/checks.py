"""Checks before the index: Qdrant Edge silently accepts what a server refuses, so both implementations check here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from stores.errors import Refused
from stores.index import Filter, PayloadType, Point, Vector

_CANONICAL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
"""Parsing costs five times as much, and our own ids always have this form."""


class Column(Struct, frozen=True, eq=False):
    """The vectors of one name: `matrix` is float32 [len(rows), size], `rows` are positions in the batch of points."""

    name: str
    rows: list[int]
    matrix: NDArray[np.float32]


def columns(points: Sequence[Point]) -> list[Column]:
    """The points' vectors by name.

    Raises Refused for NaN, infinity, zero, unequal sizes, or a point without a vector.
    """
    by_name: dict[str, tuple[list[int], list[Vector]]] = {}
    for row, point in enumerate(points):
        if not point.vectors:
            raise Refused(f"point {point.id} has no vector")
        for name, vector in point.vectors.items():
            rows, vectors = by_name.setdefault(name, ([], []))
            rows.append(row)
            vectors.append(vector)
    return [Column(name, rows, _matrix(name, vectors)) for name, (rows, vectors) in by_name.items()]


def _matrix(name: str, vectors: Sequence[Vector]) -> NDArray[np.float32]:
    shapes = {np.shape(vector) for vector in vectors}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        raise Refused(
            f"vectors {name!r} of one batch have the shapes {sorted(map(str, shapes))}: all must have one size"
        )
    matrix = np.asarray(vectors, dtype="<f4")
    _check_lengths(name, matrix)
    return matrix


def unit_rows(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """The rows of `matrix`, which are not zero, at unit length."""
    lengths = np.sqrt(np.einsum("ij,ij->i", matrix, matrix, dtype=np.float64)).astype("<f4")
    rows: NDArray[np.float32] = matrix / lengths[:, np.newaxis]
    return rows


def query_vector(name: str, vector: Vector) -> NDArray[np.float32]:
    """`vector` as float32 [size]; raises Refused as `columns` does."""
    row: NDArray[np.float32] = _matrix(name, [vector])[0]
    return row


def _check_lengths(name: str, matrix: NDArray[np.float32]) -> None:
    """Squares in float32, as the index computes them: a vector that overflows or vanishes there has no direction."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        squares = np.einsum("ij,ij->i", matrix, matrix)
    if not np.isfinite(squares).all():
        raise Refused(f"a vector {name!r} holds NaN, infinity or numbers too large to have a cosine")
    if not (squares > 0).all():
        raise Refused(f"a vector {name!r} is zero and has no direction (a broken model, or wrong weights)")


def check_sizes(collection: str, sizes: Mapping[str, int], actual: Mapping[str, int]) -> None:
    """Raise Refused where a vector's name or size is not among the collection's `sizes`."""
    for name, size in actual.items():
        if name not in sizes:
            raise Refused(f"{collection} has no vector {name!r}, it has {', '.join(sorted(sizes))}")
        if sizes[name] != size:
            raise Refused(f"vectors {name!r} of {collection} have {sizes[name]} numbers, not {size}")


def uuids(ids: Sequence[str]) -> list[str]:
    """`ids` in canonical form; raises Refused for what is no UUID."""
    try:
        return [text if _CANONICAL.fullmatch(text) else str(UUID(text)) for text in ids]
    except (ValueError, AttributeError, TypeError) as error:
        raise Refused(f"a point's id has to be a UUID: {error}") from error


def payloads(points: Sequence[Point]) -> bytes:
    """The points' payloads as one JSON array (times become RFC 3339); raises Refused for what JSON cannot hold."""
    try:
        return msgspec.json.encode([point.payload for point in points])
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise Refused(f"a payload cannot be written as JSON: {error}") from error


def check_filter(where: Filter | None, fields: Mapping[str, PayloadType]) -> None:
    """Raise Refused for a condition without values, which every point would meet, and for values of a wrong type.

    `fields` are the collection's declared payload fields with their types.
    """
    for match in () if where is None else (*where.must, *where.must_not):
        if not match.any_of and match.at_least is None and match.at_most is None and match.below is None:
            raise Refused(f"the condition on {match.field!r} has neither values nor bounds")
        truths = {isinstance(value, bool) for value in match.any_of}
        if truths != {True} if fields.get(match.field) == "bool" else True in truths:
            raise Refused(f"{match.field!r}: true and false are for fields declared bool, which take nothing else")
        if fields.get(match.field) == "text" and not all(isinstance(value, str) for value in match.any_of):
            raise Refused(f"{match.field!r} is text: ask for words")
