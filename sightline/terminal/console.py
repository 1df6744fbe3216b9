"""The consoles of standard output and errors: what they print obeys no one's escape sequences but their own."""

from __future__ import annotations

import os
import sys
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from sightline.terminal.foreign_text import visible, visible_lines

FILE_COLUMNS = 240
"""Columns of a pipe or a file: wide, because programs that read it must not see broken lines."""


class SafeConsole(Console):
    """Every text that is printed, also in a table's cell, passes `visible_lines`."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible_lines(text), **options)


def quoted(text: object) -> str:
    """Foreign text within markup of our own: in one line, without markup."""
    return escape(visible(str(text)))


def _columns(stream: TextIO) -> int | None:
    return None if stream.isatty() or "COLUMNS" in os.environ else FILE_COLUMNS


out = SafeConsole(highlight=False, emoji=False, width=_columns(sys.stdout))
err = SafeConsole(stderr=True, highlight=False, emoji=False, width=_columns(sys.stderr))
