"""Qdrant Edge's shard: how one is made, its errors as ours, and points in its own form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import qdrant_edge as edge

from stores.edge import file_sums, wire
from stores.errors import Damaged, Refused, StoreError, store_unavailable
from stores.index import CollectionSpec

T = TypeVar("T")
FINAL = ("Vector dimension error", "Not existing vector name", "No appropriate index", "Wrong input", "Bad request")
"""Prefixes of Edge's messages for errors in the request; it has one exception class for all errors. Other errors are
the machine's and are retried, because a refused point is lost to the index.
"""
PANIC = "PanicException"
"""The class of a failed assertion in Edge: its files are not as it wrote them. No subclass of Exception."""


def attempt(action: Callable[[], T], folder: Path | None = None) -> T:
    """The result of `action` on Edge; its exceptions become Refused, StoreBlocked or StoreUnavailable.

    `folder` is the shard's, which is named where its files are damaged.
    """
    try:
        return action()
    except StoreError:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        raise Refused(str(error)) from error
    except Exception as error:
        if str(error).startswith(FINAL):
            raise Refused(str(error)) from error
        raise store_unavailable("the index", error) from error
    except BaseException as error:
        if type(error).__name__ != PANIC:
            raise
        raise Damaged(f"{folder or 'the index'}: its files are damaged ({error}); {file_sums.WAY_OUT}") from error


def create(folder: Path, spec: CollectionSpec) -> edge.EdgeShard:
    """A new shard in `folder`. Vectors come at unit length and are stored as they are: the product is the cosine."""
    folder.mkdir()
    vectors = {
        name: edge.EdgeVectorParams(size=size, distance=edge.Distance.Dot) for name, size in spec.vectors.items()
    }
    return edge.EdgeShard.create(str(folder), edge.EdgeConfig(vectors=vectors))


def by_point(count: int, vectors: Sequence[wire.Floats]) -> list[dict[str, Any]]:
    """The vectors of each of `count` points, by name."""
    of_points: list[dict[str, Any]] = [{} for _ in range(count)]
    for floats in vectors:
        # Edge reads a view faster than a list, which would first have to be made.
        numbers = memoryview(floats.numbers).cast("f")
        for index, row in enumerate(floats.rows):
            of_points[row][floats.name] = numbers[index * floats.size : (index + 1) * floats.size]
    return of_points


def vectors_of(point: edge.Record | edge.ScoredPoint) -> dict[str, Any]:
    stored: Any = point.vector or {}
    return dict(stored)


def floats_of(name: str, records: Sequence[edge.Record]) -> wire.Floats:
    """The vectors of one name."""
    stored = {row: vectors[name] for row, record in enumerate(records) if name in (vectors := vectors_of(record))}
    matrix = np.asarray(list(stored.values()), "<f4")
    return wire.Floats(name, list(stored), matrix.shape[-1], matrix.tobytes())
