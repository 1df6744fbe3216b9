"""What every benchmark shares: rounds taken in turns, medians, threads asserted, one line of JSON in the end.

Other programs share the machine, so the two sides of a comparison run in turns, each round's ratio is taken by itself,
and the figure is the median of the rounds'.
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
"""A median of fewer says little on a shared machine."""


def in_turns(rounds: int, **sides: Callable[[], float]) -> dict[str, list[float]]:
    """Call every side once a round, each round in another order, and return what they measured, by side.

    One round more is run first and thrown away: caches, imports, the file system. Raises ValueError for under five.
    """
    if rounds < LEAST_ROUNDS:
        raise ValueError(f"{rounds} rounds: a median needs {LEAST_ROUNDS} at least")
    measured: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds + 1):
        order = list(sides)[turn % len(sides) :] + list(sides)[: turn % len(sides)]
        taken = {name: sides[name]() for name in order}
        if turn:
            for name, value in taken.items():
                measured[name].append(value)
    return measured


def median_ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """The median of the rounds' own ratios."""
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
    """Assert how many threads the libraries use, print it, and return it with this process's own count.

    Only what is already imported is looked at; naming a number for what is not is an error.
    """
    found: dict[str, int] = {}
    for name, wanted, count in (("torch", torch, "get_num_threads"), ("cv2", cv2, "getNumThreads")):
        module: Any = sys.modules.get(name)
        if module is not None:
            found[name] = int(getattr(module, count)())
        if wanted is not None:
            assert found.get(name) == wanted, f"{name} uses {found.get(name)} threads, {wanted} were asked for"
    found["process"] = len(list(Path("/proc/self/task").iterdir())) if Path("/proc/self/task").exists() else 0
    print("threads:", ", ".join(f"{name} {number}" for name, number in found.items()))
    return found


def machine() -> dict[str, object]:
    """What a figure cannot be read without; the load says how much of the machine was others'."""
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
    """End standard output with one line of JSON: the figures as plain numbers, everything else under `rest`'s keys."""
    for name, value in figures.items():
        assert isinstance(value, (int, float)), f"{name} is {value!r}, no number"
        assert not isinstance(value, bool), f"{name} is {value!r}, no number"
        assert math.isfinite(value), f"{name} is {value!r}"
        assert name not in rest, f"{name} is named twice"
    plain = {name: round(value, 4) for name, value in figures.items()}
    sys.stdout.flush()
    print(json.dumps({**plain, **rest, "machine": machine()}), flush=True)


def _line(path: str, start: str) -> str:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(start)), "unknown")
