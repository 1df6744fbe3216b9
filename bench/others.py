"""The share of the machine that other programs took during a measurement."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Others:
    """Own processes are this one and those whose command names `folder`, such as its index process.

    Without `/proc` the result is always 0.
    """

    folder: Path

    @contextmanager
    def counted(self) -> Iterator[Callable[[], float]]:
        """Yields a function that returns the mean number of cores that other programs took since."""
        began, before = time.perf_counter(), self._seconds()
        yield lambda: max(0.0, self._seconds() - before) / (time.perf_counter() - began)

    def _seconds(self) -> float:
        """Processor time of other programs since the machine started."""
        try:
            user, nice, system, _idle, _waited, *interrupts = _ticks(PROC / "stat", 1, 9)
        except OSError:
            return 0.0
        ticks = user + nice + system + sum(interrupts) - sum(self._of_process(path) for path in PROC.glob("[0-9]*"))
        return ticks / os.sysconf("SC_CLK_TCK")

    def _of_process(self, path: Path) -> float:
        """Ticks of an own process; 0 for other processes."""
        try:
            if path.name == str(os.getpid()) or str(self.folder).encode() in (path / "cmdline").read_bytes():
                return sum(_ticks(path / "stat", 13, 15))
        except OSError:
            pass  # it has ended
        return 0.0


def _ticks(path: Path, first: int, last: int) -> list[float]:
    """Fields of the file's first line; the name of a process, which may contain spaces, is one field."""
    line = path.read_text().partition("\n")[0]
    name, _, rest = line.rpartition(") ")
    return [float(field) for field in [*([line.split()[0], name] if name else []), *rest.split()][first:last]]
