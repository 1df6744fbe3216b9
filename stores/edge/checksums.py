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
_FLOAT = re.compile(rb"[:\[,]-?(?:\d+\.\d+(?:e[-+]?\d+)?|\d+e[-+]?\d+|\d{19,})(?=[,\]}])")
"""Float tokens of JSON without spaces, each with the character before it, and integers beyond 64 bits, which Edge
stores as floats.
"""
_encoder = msgspec.json.Encoder(order="deterministic")


def with_sums(point_id: str, vectors: Mapping[str, Any], payload: dict[str, Any]) -> dict[str, Any]:
    """`payload` with the checksums of the point; `vectors` are sequences of float32 at unit length.

    One string, because Edge converts a nested value four times as slowly.
    """
    of_vectors = "".join(f" {name}={_of_vector(vector)}" for name, vector in vectors.items())
    return payload | {SUMS: _own(point_id, payload) + of_vectors}


def with_new_payload(point_id: str, payload: dict[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """`payload` with new checksums of its own; those of the vectors are taken from the `stored` payload."""
    if SUMS not in stored:
        return payload
    of_vectors = str(stored[SUMS]).split(" ")[2:]
    return payload | {SUMS: " ".join((_own(point_id, payload), *of_vectors))}


def is_intact(point_id: str, payload: dict[str, Any], vectors: Mapping[str, Any] | None) -> bool:
    """Whether a stored point is as it was written; `vectors` are those that were read, or None. A point without
    checksums, written by an earlier version, is taken as it is.
    """
    if SUMS not in payload:
        return True
    try:
        expected, expected_numbers, *of_vectors = payload[SUMS].split(" ")
        checksum, numbers, magnitude = _of_payload(point_id, payload)
        return bool(
            checksum == int(expected)
            and (not math.isfinite(magnitude) or abs(numbers - float(expected_numbers)) <= TOLERANCE * magnitude)
            and all(f"{name}={_of_vector(vector)}" in of_vectors for name, vector in (vectors or {}).items())
        )
    except (AttributeError, TypeError, ValueError):
        return False


def has_all_vectors(payload: Mapping[str, Any], vectors: Mapping[str, Any]) -> bool:
    """Whether no vector of a stored point was lost; `vectors` are all that the point has."""
    return SUMS not in payload or len(payload[SUMS].split(" ")) - 2 == len(vectors)


def _own(point_id: str, payload: Mapping[str, Any]) -> str:
    checksum, numbers, _ = _of_payload(point_id, payload)
    return f"{checksum} {numbers!r}"


def _of_payload(point_id: str, payload: Mapping[str, Any]) -> tuple[int, float, float]:
    """The checksum of what is no float, the weighted sum of the floats, and the sum of their weighted magnitudes."""
    if SUMS in payload:
        payload = {field: value for field, value in payload.items() if field != SUMS}
    text = _encoder.encode(payload)
    tokens = _FLOAT.findall(text)
    if not tokens:
        return crc32(text, crc32(point_id.encode())), 0.0, 0.0
    numbers = [place * float(token[1:]) for place, token in enumerate(tokens, start=1)]
    total = sum(numbers)
    checksum = crc32(_FLOAT.sub(b"", text), crc32(point_id.encode()))
    return checksum, total if math.isfinite(total) else 0.0, sum(map(abs, numbers))


def _of_vector(vector: Any) -> int:
    return crc32(vector if isinstance(vector, memoryview) else np.asarray(vector, "<f4").tobytes())
