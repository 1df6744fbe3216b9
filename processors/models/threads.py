"""How many threads torch computes with: this process's share of the cores, and passive while it waits.

Import this before torch. OpenMP's threads spin while they wait unless told otherwise, which costs a factor of ten
where cores are shared; it reads the variable when torch is loaded. ultralytics' first CPU prediction sets torch's
count for the whole process to cores − 1, so it is set again after whatever builds or runs one.
"""

from __future__ import annotations

import os

from processors.cores import cores

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_workers = 1


def share_with(workers: int) -> None:
    """Say how many workers run on this machine; the wiring layer does, before any stage opens."""
    global _workers  # a property of the process, as torch's own count is
    _workers = max(workers, 1)


def count() -> int:
    """Threads of one worker."""
    return max(cores() // _workers, 1)


def apply() -> int:
    """Set torch's count in this thread and for threads to come; returns it."""
    import torch

    if torch.get_num_threads() != count():
        torch.set_num_threads(count())
    return count()
