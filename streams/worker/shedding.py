"""What happens to frames of a live feed for which we are too late: they pass stages by, and say so.

A frame older than its feed allows leaves out the expensive stages, one twice as old all of them. It is published all
the same, without points. Age counts from when it was captured, or ingested where nobody knows.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from processors.frame import Frame

REASON = "shed"
ALL_AT = 2.0
"""So many times the feed's age: then even what is cheap goes, until we are back in the present."""


def shed(frame: Frame, stages: Sequence[str], expensive: Collection[str], now: float) -> bool:
    """Leave out those of `stages` for which the frame is too old at `now` (Unix time); whether there was one."""
    if frame.max_age_seconds <= 0:
        return False
    age_seconds = now - (frame.captured or frame.ingested).timestamp()
    if age_seconds <= frame.max_age_seconds:
        return False
    over = stages if age_seconds > ALL_AT * frame.max_age_seconds else [name for name in stages if name in expensive]
    for name in over:
        frame.skip(name, REASON)
    return bool(over)
