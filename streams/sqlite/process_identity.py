"""The ids of this boot and this process, and the time since boot. Leases use them: the wall clock may jump."""

from __future__ import annotations

import os
import time
from functools import cache
from pathlib import Path

NAMESPACE = Path("/proc/self/ns/pid")
"""Identifies this process's PID namespace: a PID says nothing about a process in another container."""

UNKNOWN_BOOT = "unknown"


def boot_seconds() -> float:
    """Seconds since boot, time asleep included; other systems than Linux have only their monotonic clock."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@cache
def boot_id() -> str:
    """This boot's id: leases of another boot have run out. "unknown" where the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return UNKNOWN_BOOT


def process_id() -> str:
    """Namespace, PID and start time of this process, so that `is_dead` works in others; empty where it cannot."""
    try:
        return f"{NAMESPACE.readlink()} {os.getpid()} {_start_ticks(os.getpid())}"
    except (OSError, IndexError):
        return ""


def is_dead(process: str) -> bool:
    """Whether the process with this id is certainly gone; False where only its lease can show it."""
    if not process:
        return False
    namespace, pid, started = process.split(" ")
    try:
        if str(NAMESPACE.readlink()) != namespace:
            return False
        return _start_ticks(int(pid)) != started
    except FileNotFoundError:
        return True
    except (OSError, IndexError):
        return False


def _start_ticks(pid: int) -> str:
    """Start time in ticks since boot (proc(5), field 22): a reused PID has another one. '' for a zombie."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]
