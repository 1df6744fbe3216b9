"""How many cores this process may run on."""

from __future__ import annotations

import os


def cores() -> int:
    """Not the machine's but the process's: a container may be pinned to a share."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
