"""Paths into JSON as descriptions of APIs write them: `hits`, `data.items[0].src`, `$.photos`."""

from __future__ import annotations

import re
from typing import Any

_PATH = re.compile(r"(?:\$\.?)?(?:[^.\[\]]+|\[\d+\])?(?:\.[^.\[\]]+|\[\d+\])*")
_STEP = re.compile(r"[^.\[\]$]+")


def check_path(path: str) -> str:
    """Return `path`, or raise ValueError: names with dots between and numbers in brackets are understood."""
    if not _PATH.fullmatch(path):
        raise ValueError(f"{path!r} is no path; write names with dots between, and [0] for a place in a list")
    return path


def pick(document: Any, path: str) -> Any:
    """What lies at `path`, or None if there is nothing; an empty path is the document itself."""
    found = document
    for step in _STEP.findall(path):
        if isinstance(found, dict):
            found = found.get(step)
        elif isinstance(found, list) and step.isdigit() and int(step) < len(found):
            found = found[int(step)]
        else:
            return None
    return found


def pick_text(document: Any, path: str) -> str:
    """A text or number at `path` as printable text of at most 300 characters; empty where there is none."""
    found = pick(document, path) if path else None
    if not isinstance(found, str | int | float):
        return ""
    return "".join(character if character.isprintable() else " " for character in str(found))[:300].strip()
