"""Filters as Qdrant Edge's own types.

Its Python binding turns `True` into the integer 1 in a condition (0.9.0: no stored boolean is ever matched). So a
field declared `bool` has a hidden keyword field beside it, `SHADOW + field`, and conditions test that one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import qdrant_edge as edge

from stores.index import CollectionSpec, Filter, Match, PayloadType

SHADOW = "_truth_"

INDEX_TYPES: dict[PayloadType, edge.PayloadSchemaType] = {
    "keyword": edge.PayloadSchemaType.Keyword,
    "integer": edge.PayloadSchemaType.Integer,
    "float": edge.PayloadSchemaType.Float,
    "bool": edge.PayloadSchemaType.Keyword,
    "datetime": edge.PayloadSchemaType.Datetime,
    "text": edge.PayloadSchemaType.Text,
}


def index_field(spec: CollectionSpec, field: str) -> str:
    """The stored field that conditions on `field` test."""
    return SHADOW + field if spec.payload.get(field) == "bool" else field


def shadowed(spec: CollectionSpec, payload: dict[str, Any]) -> dict[str, Any]:
    """`payload` with the hidden keywords of its boolean values."""
    fields = [field for field, kind in spec.payload.items() if kind == "bool" and field in payload]
    return payload | {SHADOW + field: _keywords(payload[field]) for field in fields} if fields else payload


def unshadowed(spec: CollectionSpec, payload: dict[str, Any]) -> dict[str, Any]:
    """`payload` without hidden keywords."""
    if "bool" not in spec.payload.values():
        return payload
    return {field: value for field, value in payload.items() if not field.startswith(SHADOW)}


def _keywords(value: object) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [str(truth).lower() for truth in values if isinstance(truth, bool)]


def to_filter(spec: CollectionSpec, where: Filter | None) -> edge.Filter | None:
    """Raises ValueError for a bound that is no RFC 3339 time."""
    if where is None or not (where.must or where.must_not):
        return None
    return edge.Filter(
        must=[_condition(spec.payload, match) for match in where.must],
        must_not=[_condition(spec.payload, match) for match in where.must_not],
    )


def _condition(fields: Mapping[str, PayloadType], match: Match) -> edge.Filter:
    """All parts of `match` as one condition, so that it can also be negated as one."""
    parts: list[Any] = []
    if match.any_of:
        parts.append(edge.Filter(should=_values(fields, match)))
    if any(bound is not None for bound in (match.at_least, match.at_most, match.below)):
        parts.append(edge.FieldCondition(key=match.field, range=_range(match)))
    return edge.Filter(must=parts)


def _values(fields: Mapping[str, PayloadType], match: Match) -> list[Any]:
    kind, key = fields.get(match.field), match.field
    if kind == "bool":
        return [
            edge.FieldCondition(key=SHADOW + key, match=edge.MatchAny([str(truth).lower() for truth in match.any_of]))
        ]
    words = [value for value in match.any_of if isinstance(value, str)]
    numbers = [value for value in match.any_of if not isinstance(value, str)]
    if kind == "text":
        return [edge.FieldCondition(key=key, match=edge.MatchText(word)) for word in words]
    return [edge.FieldCondition(key=key, match=edge.MatchAny(values)) for values in (words, numbers) if values]


def _range(match: Match) -> edge.RangeFloat | edge.RangeDateTime:
    bounds: dict[str, Any] = {"gte": match.at_least, "lte": match.at_most, "lt": match.below}
    is_time = any(isinstance(bound, str) for bound in bounds.values())
    return edge.RangeDateTime(**bounds) if is_time else edge.RangeFloat(**bounds)
