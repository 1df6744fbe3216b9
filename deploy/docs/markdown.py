"""Markdown as this repository writes it: tables, headings and their anchors, links, paths in code spans."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
_HEADING = re.compile(r"^(#{1,6}) +(.+?)(?: +#+)?$")
_CODE = re.compile(r"(`+)(.+?)\1")
_LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s]+)((?: +\"[^\"]*\")?\))")


class Occurrence(NamedTuple):
    """A piece of a page and its line, counted from 1."""

    line: int
    text: str


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *([cell(text) for text in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(text: str) -> str:
    """`text` as one table cell: a single line, its pipes escaped."""
    return " ".join(text.split()).replace("|", "\\|")


def prose_lines(text: str) -> Iterator[Occurrence]:
    """The lines outside fenced code blocks."""
    fence = ""
    for number, line in enumerate(text.splitlines(), 1):
        mark = _FENCE.match(line)
        if fence:
            fence = "" if mark and mark[1].startswith(fence) else fence
        elif mark:
            fence = mark[1]
        else:
            yield Occurrence(number, line)


def links(text: str) -> list[Occurrence]:
    """The targets of all inline links and images."""
    return [
        Occurrence(number, match[2])
        for number, line in prose_lines(text)
        for match in _LINK.finditer(_CODE.sub(_without_brackets, line))
    ]


def code_spans(text: str) -> list[Occurrence]:
    return [Occurrence(number, match[2]) for number, line in prose_lines(text) for match in _CODE.finditer(line)]


def headings(text: str) -> list[Occurrence]:
    """The text of every heading, in order."""
    return [Occurrence(number, match[2]) for number, line in prose_lines(text) if (match := _HEADING.match(line))]


def anchors(text: str) -> set[str]:
    """Anchors that lead to one heading both where the repository is browsed and on the built site.

    The two differ in what they make of runs of spaces and of equal headings; such anchors are left out.
    """
    browsed = [anchor(heading.text) for heading in headings(text)]
    built = [_built_anchor(heading.text) for heading in headings(text)]
    return {name for name, other in zip(browsed, built, strict=True) if name == other and browsed.count(name) == 1}


def replace_links(text: str, replacements: dict[str, str | None]) -> str:
    """Put another target for each target that is a key; None leaves the link's text alone."""

    def replaced(match: re.Match[str]) -> str:
        target = replacements.get(match[2], match[2])
        return match[1].lstrip("!")[1:-2] if target is None else f"{match[1]}{target}{match[3]}"

    prose = {line.line for line in prose_lines(text)}
    lines = text.splitlines(keepends=True)
    return "".join(_LINK.sub(replaced, line) if number in prose else line for number, line in enumerate(lines, 1))


def _without_brackets(match: re.Match[str]) -> str:
    return match[0].replace("[", " ").replace("]", " ")


def _plain(heading: str) -> str:
    return re.sub(r"[`*]|\]\([^)]*\)|[\[\]]", "", heading).strip().lower()


def anchor(heading: str) -> str:
    """The anchor of a heading where the repository is browsed."""
    return re.sub(r"[^\w\- ]", "", _plain(heading)).replace(" ", "-")


def _built_anchor(heading: str) -> str:
    ascii_only = _plain(heading).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", ascii_only).strip())
