"""Conversions between our types and those of a Qdrant server's client, and of its errors."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, TypeVar

import grpc as transport  # type: ignore[import-untyped]
import msgspec
import numpy as np
from qdrant_client import grpc, models
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.conversions.conversion import payload_to_grpc
from qdrant_client.http.exceptions import ApiException

from stores.checks import Column, check_filter, payloads, uuids
from stores.errors import Missing, Refused, StoreError, StoreUnavailable
from stores.index import Filter, Hit, Match, PayloadType, Point

T = TypeVar("T")

INDEX_TYPES: dict[PayloadType, models.PayloadSchemaType] = {
    "keyword": models.PayloadSchemaType.KEYWORD,
    "integer": models.PayloadSchemaType.INTEGER,
    "float": models.PayloadSchemaType.FLOAT,
    "bool": models.PayloadSchemaType.BOOL,
    "datetime": models.PayloadSchemaType.DATETIME,
    "text": models.PayloadSchemaType.TEXT,
}
PAYLOAD_TYPES = {schema_type: payload_type for payload_type, schema_type in INDEX_TYPES.items()}

FINAL: dict[transport.StatusCode, type[StoreError]] = {
    transport.StatusCode.NOT_FOUND: Missing,
    transport.StatusCode.INVALID_ARGUMENT: Refused,
    transport.StatusCode.ALREADY_EXISTS: Refused,
    transport.StatusCode.FAILED_PRECONDITION: Refused,
    transport.StatusCode.OUT_OF_RANGE: Refused,
    transport.StatusCode.UNIMPLEMENTED: Refused,
}
"""Every other status is StoreUnavailable and retried, a refused key too: no frame is at fault, and the log names it."""


POINTS_FAULTS = ("Wrong input", "Validation error", "Vector dimension error", "Not existing vector name")
"""How a server's messages about points begin. It has the same status for them as for a quota that is full, a limit of
its strict mode, or whatever else is no point's fault."""


async def written(url: str, response: Awaitable[T]) -> T:
    """As `translated`, for points that have passed our own checks: Refused is only what the message blames on them."""
    try:
        return await translated(url, response)
    except Refused as error:
        cause = error.__cause__
        if isinstance(cause, transport.RpcError) and not str(cause.details()).startswith(POINTS_FAULTS):
            raise StoreUnavailable(str(error)) from cause
        raise


async def translated(url: str, response: Awaitable[T]) -> T:
    """The client's `response`, awaited; its errors become those of `stores.errors`, naming `url`."""
    try:
        return await response
    except transport.RpcError as error:
        status, details = error.code(), error.details()
        raise FINAL.get(status, StoreUnavailable)(f"Qdrant at {url}: {status.name}: {details}") from error
    except (ApiException, ResourceExhaustedResponse, OSError) as error:
        raise StoreUnavailable(f"Qdrant at {url}: {error}") from error
    except (ValueError, TypeError) as error:
        raise Refused(f"Qdrant at {url}: {error}") from error


def to_points(points: Sequence[Point], checked: Sequence[Column]) -> list[grpc.PointStruct]:
    """Points in the wire's own types: the client's models cost more time than the call. Raises Refused.

    `checked` are the points' `columns`.
    """
    vectors: list[dict[str, grpc.Vector]] = [{} for _ in points]
    for column in checked:
        for row, numbers in zip(column.rows, column.matrix, strict=True):
            vectors[row][column.name] = grpc.Vector(dense=grpc.DenseVector(data=numbers))
    bodies = msgspec.json.decode(payloads(points), type=list[dict[str, Any]])
    ids = uuids([point.id for point in points])
    try:
        return [
            grpc.PointStruct(
                id=grpc.PointId(uuid=uuid),
                vectors=grpc.Vectors(vectors=grpc.NamedVectors(vectors=named)),
                payload=payload_to_grpc(payload),
            )
            for uuid, named, payload in zip(ids, vectors, bodies, strict=True)
        ]
    except (ValueError, TypeError) as error:
        raise Refused(f"a payload cannot be sent: {error}") from error


def to_filter(where: Filter | None, fields: Mapping[str, PayloadType]) -> models.Filter | None:
    """`where` in the client's types, None for no condition.

    Raises Refused for what `check_filter` refuses and for a bound that is no RFC 3339 time.
    """
    check_filter(where, fields)
    if where is None or not (where.must or where.must_not):
        return None
    try:
        return models.Filter(
            must=[_condition(fields, match) for match in where.must],
            must_not=[_condition(fields, match) for match in where.must_not],
        )
    except ValueError as error:
        raise Refused(str(error)) from error


def _condition(fields: Mapping[str, PayloadType], match: Match) -> models.Filter:
    """All parts of `match` as one condition, so that it can also be negated as one."""
    parts: list[models.Condition] = []
    if match.any_of:
        parts.append(models.Filter(should=_values(fields.get(match.field), match)))
    if any(bound is not None for bound in (match.at_least, match.at_most, match.below)):
        parts.append(models.FieldCondition(key=match.field, range=_range(match)))
    return models.Filter(must=parts)


def _values(kind: PayloadType | None, match: Match) -> list[models.Condition]:
    matches: list[models.Match] = []
    words = [value for value in match.any_of if isinstance(value, str)]
    numbers = [value for value in match.any_of if not isinstance(value, str)]
    if kind == "text":
        matches += [models.MatchText(text=word) for word in words]
    elif kind == "bool":
        matches += [models.MatchValue(value=truth) for truth in match.any_of]
    else:
        matches += [models.MatchAny(any=values) for values in (words, numbers) if values]
    return [models.FieldCondition(key=match.field, match=condition) for condition in matches]


def _range(match: Match) -> models.Range | models.DatetimeRange:
    bounds: dict[str, Any] = {"gte": match.at_least, "lte": match.at_most, "lt": match.below}
    is_time = any(isinstance(bound, str) for bound in bounds.values())
    return models.DatetimeRange(**bounds) if is_time else models.Range(**bounds)


def to_hit(point: models.Record | models.ScoredPoint, score: float = 0.0) -> Hit:
    """A point of the client's types; its vectors become float32 bytes."""
    stored: Any = point.vector or {}
    vectors = {name: np.asarray(numbers, "<f4").tobytes() for name, numbers in stored.items()}
    return Hit(id=str(point.id), score=score, payload=dict(point.payload or {}), vectors=vectors)
