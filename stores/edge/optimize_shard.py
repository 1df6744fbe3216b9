"""`python -m stores.edge.optimize_shard FOLDER` optimizes the shard in FOLDER, which no other process has open."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

import qdrant_edge as edge

NICENESS = 5
"""A third of another process's share: models and searches come first, and on a busy machine it still ends."""
SET_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of Linux's prctl(2)."""


def main(folder: str) -> None:
    """Runs at low priority, and ends when its parent process ends."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        return
    os.nice(NICENESS)
    shard = edge.EdgeShard.load(folder)
    shard.optimize()
    shard.flush()
    shard.close()


if __name__ == "__main__":
    main(sys.argv[1])
