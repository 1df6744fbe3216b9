"""Text that others wrote (names of files, feeds, messages of servers) as a terminal may show it.

A terminal obeys escape sequences, also those in a file's name; marks of direction reverse what stands behind them; a
line break in a name makes a line that looks like ours. All of these are shown, not obeyed. Imports only the standard
library.
"""

from __future__ import annotations

import re
from functools import lru_cache
from unicodedata import category

_JOINERS = "\u200c\u200d"
"""Format characters that words of some scripts and emoji need; they move nothing."""
_BYTES = range(0xDC80, 0xDD00)
"""What Python makes of bytes of a name that are not UTF-8."""
_SUSPECT = re.compile(r"[^\x20-\x7e\u00a1-\u00ac\u00ae-\u05ff]")


def visible(text: str) -> str:
    r"""`text` in one line: control and format characters as `\n` or `\x1b`, bytes that are not UTF-8 as `\xe9`."""
    return _SUSPECT.sub(lambda match: _shown(match[0]), text)


def visible_lines(text: str) -> str:
    """As `visible`, but line breaks and tabs stay: for a text of our own that quotes others."""
    return _SUSPECT.sub(lambda match: match[0] if match[0] in "\n\t" else _shown(match[0]), text)


def visible_json(text: str) -> str:
    """JSON in which such characters are escaped as JSON has it; its value is the same."""
    return _SUSPECT.sub(
        lambda match: match[0] if _shown(match[0]) == match[0] or match[0] == "\n" else _json(match[0]), text
    )


def _json(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


@lru_cache(maxsize=1024)
def _shown(character: str) -> str:
    if category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp") or character in _JOINERS:
        return character
    number = ord(character)
    if number in _BYTES:
        return f"\\x{number - 0xDC00:02x}"
    return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character) or (
        f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
    )
