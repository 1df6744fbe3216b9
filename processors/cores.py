"""How many cores this process may run on."""

from __future__ import annotations

import os


def cores() -> int:
    """Cores that the process may use, not those of the machine: a container may be pinned to some of them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
