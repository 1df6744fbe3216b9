"""Tunes Python's cycle collector to a worker's process: models that stay, and frames without reference cycles.

Thousands of frames in flight look to the collector like a heap that grows, so it walks through all of it again and
again: a tenth of a fast segment's time. Frames are freed by their reference counts; cycles are rare (errors with their
tracebacks) and are still collected, later.
"""

from __future__ import annotations

import gc

ALLOCATIONS = 50_000
"""Between collections of the youngest generation; Python's default is 700."""


def collect_rarely() -> None:
    """Call once per process, after its modules are imported."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(ALLOCATIONS, 20, 20)
