"""The estimate of how long there is room, at the start of what runs for long."""

from __future__ import annotations

from collections.abc import Sequence

from sightline.terminal.options import err, print_lines


def print_storage(lines: Sequence[str]) -> None:
    """The first line says what is there, the others what to do about it."""
    for line in lines[:1]:
        err.print(line, soft_wrap=True)
    print_lines(lines[1:])
