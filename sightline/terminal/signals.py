"""The first SIGTERM or Ctrl-C requests a stop; a second one ends the process at once."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[None]:
    """While inside, the first signal calls `stop`; the second exits with 128 + its number and drains nothing."""
    loop, stop_requested = asyncio.get_running_loop(), False

    def on_signal(number: int) -> None:
        nonlocal stop_requested
        if stop_requested:
            os._exit(128 + number)
        stop_requested = True
        stop()

    for number in SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)


def leave_hung_stages(grace_seconds: float = 2.0) -> None:
    """End the process if a stage still hangs in its lane after the drain: the interpreter would wait without end.

    What the stage was computing is not committed, so nothing is lost.
    """
    lanes = [thread for thread in threading.enumerate() if thread.name.startswith("lane-")]
    for thread in lanes:
        thread.join(grace_seconds)
    if any(thread.is_alive() for thread in lanes):
        os._exit(1)
