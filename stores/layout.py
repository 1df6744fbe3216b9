"""The comparison of an existing collection with its contract."""

from __future__ import annotations

from stores.errors import WrongLayout
from stores.index import CollectionSpec


def check_layout(existing: CollectionSpec, wanted: CollectionSpec) -> None:
    """Raise WrongLayout naming each difference; missing and additional payload fields are no difference."""
    vectors = [
        f"vector {name!r} has {existing.vectors.get(name, 'no')} numbers, wanted {wanted.vectors.get(name, 'none')}"
        for name in sorted(existing.vectors.keys() | wanted.vectors.keys())
        if existing.vectors.get(name) != wanted.vectors.get(name)
    ]
    fields = [
        f"field {field!r} is {existing.payload[field]}, wanted {kind}"
        for field, kind in wanted.payload.items()
        if existing.payload.get(field, kind) != kind
    ]
    if vectors or fields:
        raise WrongLayout(f"collection {wanted.name!r} has another layout: {'; '.join(vectors + fields)}")
