"""How many threads torch computes with: this process's share of the cores, passive while they wait.

Import this module before torch. OpenMP's threads spin while they wait unless `OMP_WAIT_POLICY` says otherwise. On
shared cores that costs a factor of ten, and the variable is read when torch is loaded. The first CPU prediction of
ultralytics sets torch's count for the whole process to cores − 1, so callers set it again after they build or run a
model of ultralytics.
"""

from __future__ import annotations

import os

from processors.cores import cores

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_workers = 1


def set_worker_count(workers: int) -> None:
    """State how many workers share this machine; the wiring layer does so before any stage opens."""
    global _workers  # a property of the process, as torch's own count is
    _workers = max(workers, 1)


def thread_count() -> int:
    """Threads of one worker, at least one."""
    return max(cores() // _workers, 1)


def apply_thread_count() -> int:
    """Set torch's count for this thread and for threads to come; return it."""
    import torch

    if torch.get_num_threads() != thread_count():
        torch.set_num_threads(thread_count())
    return thread_count()
