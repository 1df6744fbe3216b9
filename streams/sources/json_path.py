"""Paths into JSON as descriptions of APIs write them: `hits`, `data.items[0].src`, `$.photos`."""

from __future__ import annotations

import re
from typing import Any

_PATH = re.compile(r"(?:\$\.?)?(?:[^.\[\]]+|\[\d+\])?(?:\.[^.\[\]]+|\[\d+\])*")
_STEP = re.compile(r"[^.\[\]$]+")


def check_path(path: str) -> str:
    """Return `path`. Raises ValueError unless it is names separated by dots and list positions in brackets."""
    if not _PATH.fullmatch(path):
        raise ValueError(f"{path!r} is not a path; write names separated by dots, and [0] for a position in a list")
    return path


def pick(document: Any, path: str) -> Any:
    """The value at `path`, None if there is none; the empty path is the document itself."""
    value = document
    for step in _STEP.findall(path):
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def pick_text(document: Any, path: str) -> str:
    """The text or number at `path` as printable text of at most 300 characters; empty if there is none."""
    value = pick(document, path) if path else None
    if not isinstance(value, str | int | float):
        return ""
    return "".join(character if character.isprintable() else " " for character in str(value))[:300].strip()
