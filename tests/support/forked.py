"""Processes forked from one that has everything imported: a start takes a moment, so kills can be many."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.faults.worker_process", "tests.nemesis.worker", "pytest"])


def fork(run: Callable[..., None], *arguments: Any) -> tuple[BaseProcess, Connection]:
    """Run `run(*arguments, connection)` in a process of its own; what it sends is received from the connection."""
    receiver, sender = _context.Pipe(duplex=False)
    process = _context.Process(target=run, args=(*arguments, sender), daemon=True)
    process.start()
    sender.close()
    return process, receiver
