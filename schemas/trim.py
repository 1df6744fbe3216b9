"""Keeps an `Observed` below its maximum size without losing its counts."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from schemas.events import Observed

OTHER = "other"
_REASON_CHARACTERS = 64
"""Reasons are slugs; a longer one is a mistake, and its rest is of no use to analytics."""
_LABEL_STEPS = (16, 8, 4, 2, 0)
_write_json = msgspec.json.Encoder()


def trimmed(observed: Observed, limit_bytes: int) -> bytes:
    """JSON of at most `limit_bytes`: first fewer labels (the rest summed under `other`), then fewer skips."""
    encoded = _write_json.encode(observed)
    if len(encoded) <= limit_bytes:
        return encoded
    observed = replace(observed, reason=observed.reason[:_REASON_CHARACTERS])
    for kept in _LABEL_STEPS:
        smaller = replace(observed, labels=_most_frequent(observed.labels, kept))
        if len(encoded := _write_json.encode(smaller)) <= limit_bytes:
            return encoded
    return _write_json.encode(replace(observed, labels=_most_frequent(observed.labels, 0), skipped={}))


def _most_frequent(labels: dict[str, int], kept: int) -> dict[str, int]:
    ranked = sorted(labels.items(), key=lambda pair: (-pair[1], pair[0]))
    rest = sum(count for _, count in ranked[kept:])
    return dict(ranked[:kept]) | ({OTHER: rest + dict(ranked[:kept]).get(OTHER, 0)} if rest else {})
