"""The first SIGTERM or Ctrl-C asks to stop; a second one ends the process at once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[None]:
    """While inside, the first signal calls `stop`; the second exits with 128 + its number and drains nothing."""
    loop, told = asyncio.get_running_loop(), False

    def heard(number: int) -> None:
        nonlocal told
        if told:
            os._exit(128 + number)
        told = True
        stop()

    for number in SIGNALS:
        loop.add_signal_handler(number, heard, number)
    try:
        yield
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
