"""Worker processes forked from one that has everything imported: a start takes a moment, so deaths can be many."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tests.faults import worker_process
from tests.faults.worker_process import Options

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([worker_process.__name__, "tests.nemesis.worker", "pytest"])


def start(folder: Path, options: Options) -> tuple[BaseProcess, Connection]:
    """A worker over the deployment in `folder`; the connection says `ready` when its work begins."""
    return fork(worker_process.run, folder, options)


def fork(run: Callable[..., None], *arguments: Any) -> tuple[BaseProcess, Connection]:
    """`run(*arguments, connection)` in a process of its own; what it sends comes out of the connection here."""
    ready, said = _context.Pipe(duplex=False)
    process = _context.Process(target=run, args=(*arguments, said), daemon=True)
    process.start()
    said.close()
    return process, ready
