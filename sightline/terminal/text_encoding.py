"""Standard output and errors print what they can: a character that the terminal lacks never raises.

Imports only the standard library: `main` calls it before anything else is imported.
"""

from __future__ import annotations

import codecs
import os
import sys
from contextlib import suppress
from io import TextIOWrapper

HANDLER = "sightline"
SUBSTITUTES = {"✗": "x", "✓": "+", "·": "-", "…": "...", "×": "x", "–": "-", "—": "-", "→": "->", "•": "*", "≥": ">="}
BRAILLE = range(0x2800, 0x2900)
"""The frames of the spinner."""
SURROGATES = range(0xDC80, 0xDD00)
"""What Python makes of bytes of a name that are not UTF-8."""


def print_what_can_be_printed() -> None:
    """From now on both streams write substitutes for what their encoding lacks."""
    codecs.register_error(HANDLER, _substitute)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=HANDLER)


def flush_quietly() -> None:
    """Flush both streams; the reader may be gone (`sightline … | head`), and then nothing more is written."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _substitute(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_of_character(character) for character in error.object[error.start : error.end]), error.end


def _of_character(character: str) -> str:
    number = ord(character)
    if number in SURROGATES:
        return f"\\x{number - 0xDC00:02x}"
    return SUBSTITUTES.get(character, "*" if number in BRAILLE else "?")
