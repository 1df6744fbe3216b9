"""Comparing a collection that exists with the contract."""

from __future__ import annotations

from stores.errors import WrongLayout
from stores.index import CollectionSpec


def check_layout(there: CollectionSpec, wanted: CollectionSpec) -> None:
    """Raises WrongLayout naming each difference; a payload field that is not indexed yet, or is more, is none."""
    vectors = [
        f"vector {name!r} has {there.vectors.get(name, 'no')} numbers, wanted {wanted.vectors.get(name, 'none')}"
        for name in sorted(there.vectors.keys() | wanted.vectors.keys())
        if there.vectors.get(name) != wanted.vectors.get(name)
    ]
    fields = [
        f"field {field!r} is {there.payload[field]}, wanted {kind}"
        for field, kind in wanted.payload.items()
        if there.payload.get(field, kind) != kind
    ]
    if vectors or fields:
        raise WrongLayout(f"collection {wanted.name!r} has another layout: {'; '.join(vectors + fields)}")
