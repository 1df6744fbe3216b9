"""Shedding: frames of a live feed that are too old skip stages, and the event says so.

A frame older than its feed allows skips the expensive stages, one twice as old skips all. It is published all the
same, without points. Age counts from when the frame was captured or, where that is unknown, ingested. A still is as old
as its ingestion: a photograph of last year is not late.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from processors.frame import Frame

REASON = "shed"
ALL_AT = 2.0
"""At this multiple of the feed's age even cheap stages are skipped, until the worker has caught up."""


def shed(frame: Frame, stages: Sequence[str], expensive: Collection[str], now: float) -> bool:
    """Skip those of `stages` for which the frame is too old at `now` (Unix time); returns whether there was one."""
    if frame.max_age_seconds <= 0:
        return False
    began = frame.ingested if frame.kind == "still" else frame.captured or frame.ingested
    age_seconds = now - began.timestamp()
    if age_seconds <= frame.max_age_seconds:
        return False
    all_of_them = age_seconds > ALL_AT * frame.max_age_seconds
    shed_stages = [name for name in stages if all_of_them or name in expensive]
    for name in shed_stages:
        frame.skip(name, REASON)
    return bool(shed_stages)
