"""What all benchmarks share: rounds in turns, medians, asserted thread counts, and a last line of JSON.

Other programs share the machine. So the two sides of a comparison run in turns, each round has a ratio of its own, and
the figure is the median of these ratios.
"""

from __future__ import annotations

import json
import math
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

LEAST_ROUNDS = 5
"""A median of fewer rounds means little on a shared machine."""


def in_turns(rounds: int, **sides: Callable[[], float]) -> dict[str, list[float]]:
    """Call every side once per round, each round in another order, and return the values by side.

    A first round is discarded: it fills caches and imports modules. Raises ValueError for fewer than five rounds.
    """
    if rounds < LEAST_ROUNDS:
        raise ValueError(f"{rounds} rounds are too few for a median; use at least {LEAST_ROUNDS}")
    measured: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds + 1):
        order = list(sides)[turn % len(sides) :] + list(sides)[: turn % len(sides)]
        values = {name: sides[name]() for name in order}
        if turn:
            for name, value in values.items():
                measured[name].append(value)
    return measured


def median_ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """The median of the ratios of the rounds."""
    return median(a / b for a, b in zip(over, under, strict=True))


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and quartiles, for the breakdown."""
    ordered = sorted(values)
    last = len(ordered) - 1
    return {
        "median": round(median(ordered), 4),
        "q1": round(ordered[last // 4], 4),
        "q3": round(ordered[last - last // 4], 4),
        "rounds": len(ordered),
    }


def threads(*, torch: int | None = None, cv2: int | None = None) -> dict[str, int]:
    """Assert the libraries' thread counts, print them, and return them with the number of threads of this process.

    Only imported libraries are inspected; expecting a count of one that is not imported is an error.
    """
    counts: dict[str, int] = {}
    for name, expected, count in (("torch", torch, "get_num_threads"), ("cv2", cv2, "getNumThreads")):
        module: Any = sys.modules.get(name)
        if module is not None:
            counts[name] = int(getattr(module, count)())
        if expected is not None:
            assert counts.get(name) == expected, f"{name} uses {counts.get(name)} threads, {expected} are expected"
    counts["process"] = len(list(Path("/proc/self/task").iterdir())) if Path("/proc/self/task").exists() else 0
    print("threads:", ", ".join(f"{name} {number}" for name, number in counts.items()))
    return counts


def machine() -> dict[str, object]:
    """The machine that figures belong to; the load shows how busy other programs kept it."""
    return {
        "cpu": _line("/proc/cpuinfo", "model name"),
        "cores": os.cpu_count(),
        "cores_allowed": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory": _line("/proc/meminfo", "MemTotal"),
        "load": [round(value, 2) for value in os.getloadavg()],
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def report(figures: Mapping[str, float], **rest: object) -> None:
    """Print the last line of output, JSON: the figures as plain numbers, everything else under the keys of `rest`."""
    for name, value in figures.items():
        assert isinstance(value, (int, float)), f"{name} is {value!r}, not a number"
        assert not isinstance(value, bool), f"{name} is {value!r}, not a number"
        assert math.isfinite(value), f"{name} is {value!r}"
        assert name not in rest, f"{name} is both a figure and a key of the rest"
    plain = {name: round(value, 4) for name, value in figures.items()}
    sys.stdout.flush()
    print(json.dumps({**plain, **rest, "machine": machine()}), flush=True)


def _line(path: str, start: str) -> str:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(start)), "unknown")
