"""Time and identity of this boot: what leases stand on, because the wall clock may jump."""

from __future__ import annotations

import os
import time
from functools import cache
from pathlib import Path

NAMESPACE = Path("/proc/self/ns/pid")
"""Names this process's set of process numbers: a number says nothing about a process in another container."""


def boot_seconds() -> float:
    """Seconds since boot, time asleep included; other systems than Linux have only their monotonic clock."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@cache
def boot_name() -> str:
    """This boot's id: leases of another boot have run out. A constant where the system tells none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


def process_name() -> str:
    """This process, so that others of its namespace see at once that it died; empty where that cannot be told."""
    try:
        return f"{NAMESPACE.readlink()} {os.getpid()} {_started(os.getpid())}"
    except (OSError, IndexError):
        return ""


def is_dead(process: str) -> bool:
    """Whether the process named so is certainly gone; False where only its lease can tell."""
    if not process:
        return False
    namespace, pid, started = process.split(" ")
    try:
        if str(NAMESPACE.readlink()) != namespace:
            return False
        return _started(int(pid)) != started
    except FileNotFoundError:
        return True
    except (OSError, IndexError):
        return False


def _started(pid: int) -> str:
    """Start time in ticks since boot (proc(5), field 22): a number used again is another process. '' for a zombie."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]
