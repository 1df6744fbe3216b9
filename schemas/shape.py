"""Checks that every reader can represent a decoded value: plain types, finite numbers, limited depth.

msgpack carries NaN, extension types and keys that are no text; JSON integers have no bound. None of them may reach a
stage, an index or a writer of the other format.
"""

from __future__ import annotations

from datetime import datetime
from math import isfinite
from typing import Any

MAX_DEPTH = 32
"""Sightline's own events are seven deep; a stage's results may nest considerably deeper."""
_MIN_INTEGER, _MAX_INTEGER = -(1 << 63), (1 << 64) - 1
"""The range of msgpack's integers."""
_PLAIN = frozenset({str, bool, bytes, type(None), datetime})


class Misshapen(ValueError):  # noqa: N818 - named for the state
    """A value outside the contract; `reason` is a slug of `schemas.errors`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def check_values(node: Any, depth: int = 0) -> None:
    """Raise Misshapen for what is not finite, too deep, or of a type that msgpack and JSON do not share."""
    kind = type(node)
    if kind is dict:
        _check_depth(depth)
        for key, value in node.items():
            if type(key) is not str:
                raise Misshapen("wrong_type", f"a key is {type(key).__name__}, not text")
            if type(value) not in _PLAIN:
                check_values(value, depth + 1)
    elif kind is list or kind is tuple:
        _check_depth(depth)
        for value in node:
            if type(value) not in _PLAIN:
                check_values(value, depth + 1)
    elif kind is float:
        if not isfinite(node):
            raise Misshapen("not_finite", f"a number is {node}")
    elif kind is int:
        if not _MIN_INTEGER <= node <= _MAX_INTEGER:
            raise Misshapen("not_finite", "an integer needs more than 64 bits")
    elif kind not in _PLAIN:
        raise Misshapen("wrong_type", f"a value is {kind.__name__}, which events cannot hold")


def _check_depth(depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise Misshapen("too_deep", f"nested deeper than {MAX_DEPTH}")
