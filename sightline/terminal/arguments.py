"""Arguments that are refused before any command is imported. Imports only the standard library."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from sightline.terminal.foreign_text import visible

ATTACHED = re.compile(r"-(?P<option>[^-])(?P<value>.+)", re.DOTALL)
"""A short option with its value, or a word that begins with a minus: only the value tells which."""
SHORT_OPTIONS_WITH_VALUE = "cim"
PRESETS = ("tiny", "base", "large")


def refusal(arguments: Sequence[str]) -> str | None:
    """Why these arguments cannot be used, and what to type instead; None where nothing is wrong here."""
    for argument in arguments:
        if not _is_text(argument):
            return f"an argument is not {sys.getfilesystemencoding().upper()}: {visible(argument)}"
    if arguments[:1] == ["search"]:
        for before, word in pairwise(arguments):
            if word == "--":
                break
            if not before.startswith("--") and _is_excluded_word(word):
                return (
                    f"{word} is read as options. To exclude what a word names, write it with --not "
                    f"{word.lstrip('-')!r}, or behind two dashes: sightline search -- {word!r}"
                )
    return None


def _is_text(argument: str) -> bool:
    try:
        argument.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _is_excluded_word(word: str) -> bool:
    match = ATTACHED.fullmatch(word)
    if match is None:
        return False
    option, value = match["option"], match["value"]
    if option == "m":
        return value not in PRESETS
    return option not in SHORT_OPTIONS_WITH_VALUE or not Path(value).exists()
