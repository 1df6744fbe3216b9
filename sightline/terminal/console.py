"""The consoles of standard output and errors: what they print obeys no one's escape sequences but their own."""

from __future__ import annotations

import os
import sys
from typing import Any, TextIO

import structlog
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from sightline.terminal.foreign_text import visible, visible_lines

FILE_COLUMNS = 240
"""Columns of a pipe or a file: wide, because programs that read it must not see broken lines."""


LEVELS = {"✗": "error", "!": "warning"}
"""Of the marks before a sentence."""


class SafeConsole(Console):
    """Every text that is printed, also in a table's cell, passes `visible_lines`.

    On standard error a sentence is a line of the log where that is JSON: a program there parses every line.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible_lines(text), **options)

    def print(self, *objects: Any, **options: Any) -> None:
        if not self.stderr or not logs_are_json() or not all(isinstance(part, str) for part in objects):
            super().print(*objects, **options)
            return
        with_markup = options.get("markup", self._markup)
        log = structlog.get_logger()
        for line in " ".join(objects).splitlines():
            text = self.render_str(line, markup=with_markup).plain.strip()
            mark, _, rest = text.partition(" ")
            getattr(log, LEVELS.get(mark, "info"))(rest if mark in LEVELS else text)


def logs_are_json() -> bool:
    """Whether `sightline.terminal.logs` made each line of standard error JSON."""
    return isinstance(structlog.get_config()["processors"][-1], structlog.processors.JSONRenderer)


def quoted(text: object) -> str:
    """Foreign text within markup of our own: in one line, without markup."""
    return escape(visible(str(text)))


def _columns(stream: TextIO) -> int | None:
    return None if stream.isatty() or "COLUMNS" in os.environ else FILE_COLUMNS


out = SafeConsole(highlight=False, emoji=False, width=_columns(sys.stdout))
err = SafeConsole(stderr=True, highlight=False, emoji=False, width=_columns(sys.stderr))
