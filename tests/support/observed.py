"""Events of `frames.observed`, as records like those of workers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from schemas import codec
from schemas.cloudevents import JSON, OBSERVED_TYPE, headers
from schemas.events import Observed
from schemas.identity import frame_id, partition_key
from schemas.topics import OBSERVED
from streams.transport import NewRecord

BEGAN = datetime(2026, 11, 21, 8, 0, tzinfo=UTC).timestamp()
State = Literal["enriched", "dead", "shed"]


def observed(
    number: int,
    at_seconds: float,
    *,
    feed: str = "lobby",
    state: State = "enriched",
    labels: dict[str, int] | None = None,
    luminance: float | None = None,
    difference: float | None = None,
    count: int = 1,
) -> Observed:
    """`at_seconds` is since `BEGAN`."""
    return Observed(
        frame=frame_id("default", feed, f"test:{number}"),
        tenant="default",
        feed=feed,
        kind="frame",
        state=state,
        published=datetime.fromtimestamp(BEGAN + at_seconds, UTC),
        reason="unreadable_image" if state == "dead" else "",
        labels=labels or {},
        luminance=luminance,
        difference=difference,
        count=count,
    )


def record(event: Observed) -> NewRecord:
    written = headers(
        OBSERVED_TYPE,
        tenant=event.tenant,
        feed=event.feed,
        frame=event.frame,
        time=event.published,
        content_type=JSON,
    )
    return NewRecord(OBSERVED, partition_key(event.tenant, event.feed), codec.encode_observed(event), written)
