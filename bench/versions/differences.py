"""The differences between two values of dictionaries, lists, numbers and vectors, one line each."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

TOLERANCE = 1e-4
"""For confidences, boxes and vectors, which depend slightly on the batch they are computed in."""
SHOWN_CHARACTERS = 120


def differences(old: Any, new: Any, path: str) -> Iterator[str]:
    """One line per difference: path, old value, new value."""
    if isinstance(old, dict) and isinstance(new, dict):
        yield from _of_dicts(old, new, path)
    elif isinstance(old, (list, tuple)) and isinstance(new, (list, tuple)):
        yield from _of_lists(old, new, path)
    elif not _equal(old, new, path):
        yield f"{path}: {_shown(old)} | {_shown(new)}"


def _of_dicts(old: dict[str, Any], new: dict[str, Any], path: str) -> Iterator[str]:
    for name in sorted(old.keys() | new.keys()):
        where = f"{path}.{name}"
        if name not in new:
            yield f"{where}: {_shown(old[name])} | missing"
        elif name not in old:
            yield f"{where}: missing | {_shown(new[name])}"
        else:
            yield from differences(old[name], new[name], where)


def _of_lists(old: Sequence[Any], new: Sequence[Any], path: str) -> Iterator[str]:
    if len(old) != len(new):
        yield f"{path}: {len(old)} entries | {len(new)} entries"
    for number, (left, right) in enumerate(zip(old, new, strict=False)):
        yield from differences(left, right, f"{path}[{number}]")


def _equal(old: Any, new: Any, path: str) -> bool:
    if type(old) is not type(new):
        return False
    if isinstance(old, float):
        return math.isclose(old, new, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    if path.endswith(".vector"):
        return _near(_vector(old), _vector(new))
    return bool(old == new)


def _vector(value: bytes | str) -> Any:
    """Little-endian float32, in JSON as base64."""
    return np.frombuffer(base64.b64decode(value) if isinstance(value, str) else value, "<f4")


def _near(old: Any, new: Any) -> bool:
    return old.size == new.size and bool(np.abs(old - new).max(initial=0.0) <= TOLERANCE)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
