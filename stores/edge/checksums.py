"""Checksums of points: a flipped byte of a vector or a payload is detected when the point is read.

A stored payload holds the checksums of its point under SUMS, a reserved field that no caller sees. Edge reads a float
from its JSON with an error of up to one unit in the last place, so floats are not part of the payload's checksum: a
weighted sum of them is stored beside it and compared within a tolerance.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any
from zlib import crc32

import msgspec
import numpy as np

SUMS = "_sums"
TOLERANCE = 1e-9
"""Relative; far above the error of Edge's parser, far below any change of a number that matters."""
_FLOAT = re.compile(rb"(?<=[:\[,])-?(?:\d+\.\d+(?:e[-+]?\d+)?|\d+e[-+]?\d+|\d{19,})(?=[,\]}])")
"""Float tokens of JSON without spaces, and integers beyond 64 bits, which Edge stores as floats."""
_encoder = msgspec.json.Encoder(order="deterministic")


def with_sums(point_id: str, vectors: Mapping[str, Any], payload: dict[str, Any]) -> dict[str, Any]:
    """`payload` with the checksums of the point; `vectors` are sequences of float32 at unit length."""
    checksum, numbers, _ = _of_payload(point_id, payload)
    return payload | {SUMS: [checksum, numbers, {name: _of_vector(vector) for name, vector in vectors.items()}]}


def with_new_payload(point_id: str, payload: dict[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """`payload` with new checksums of its own; those of the vectors are taken from the `stored` payload."""
    if SUMS not in stored:
        return payload
    checksum, numbers, _ = _of_payload(point_id, payload)
    return payload | {SUMS: [checksum, numbers, stored[SUMS][2]]}


def is_intact(point_id: str, payload: dict[str, Any], vectors: Mapping[str, Any] | None) -> bool:
    """Whether a stored point is as it was written; `vectors` are those that were read, or None. A point without
    checksums, written by an earlier version, is taken as it is.
    """
    sums = payload.get(SUMS)
    if sums is None:
        return True
    try:
        expected, expected_numbers, of_vectors = sums
        checksum, numbers, magnitude = _of_payload(point_id, payload)
        return bool(
            checksum == expected
            and (not math.isfinite(magnitude) or abs(numbers - expected_numbers) <= TOLERANCE * magnitude)
            and all(_of_vector(vector) == of_vectors[name] for name, vector in (vectors or {}).items())
        )
    except (TypeError, ValueError, KeyError):
        return False


def has_all_vectors(payload: Mapping[str, Any], vectors: Mapping[str, Any]) -> bool:
    """Whether no vector of a stored point was lost; `vectors` are all that the point has."""
    sums = payload.get(SUMS)
    return sums is None or sums[2].keys() <= vectors.keys()


def _of_payload(point_id: str, payload: Mapping[str, Any]) -> tuple[int, float, float]:
    """The checksum of what is no float, the weighted sum of the floats, and the sum of their weighted magnitudes."""
    text = _encoder.encode({field: value for field, value in payload.items() if field != SUMS})
    numbers = [place * float(token) for place, token in enumerate(_FLOAT.findall(text), start=1)]
    total = sum(numbers)
    rest = _FLOAT.sub(b"", text) if numbers else text
    return crc32(rest, crc32(point_id.encode())), total if math.isfinite(total) else 0.0, sum(map(abs, numbers))


def _of_vector(vector: Any) -> int:
    return crc32(vector if isinstance(vector, memoryview) else np.asarray(vector, "<f4").tobytes())
