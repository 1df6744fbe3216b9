"""Limits repeated lines of the libraries' loggers: a client of a broker that is away logs every attempt."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable

INTERVAL_SECONDS = 60.0
MAX_KINDS = 256
"""Messages that are formatted before they are logged are each of a kind of their own."""


class RepeatedLines(logging.Filter):
    """Lets a message of a logger through once an interval; the next one says how many were left out.

    Messages that differ in their arguments alone are one kind.
    """

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._seconds = seconds
        self._kinds: OrderedDict[tuple[str, int, str], tuple[float, int]] = OrderedDict()
        """When a kind was last let through, and how many were left out since."""

    def filter(self, record: logging.LogRecord) -> bool:
        kind, now = (record.name, record.levelno, str(record.msg)), self._seconds()
        passed_at, left_out = self._kinds.get(kind, (float("-inf"), 0))
        if now - passed_at < INTERVAL_SECONDS:
            self._kinds[kind] = passed_at, left_out + 1
            return False
        self._kinds[kind] = now, 0
        self._kinds.move_to_end(kind)
        if len(self._kinds) > MAX_KINDS:
            self._kinds.popitem(last=False)
        if left_out:
            text = f"{record.getMessage()} ({left_out} more since {now - passed_at:.0f} s ago)"
            record.msg, record.args = text, None
        return True
