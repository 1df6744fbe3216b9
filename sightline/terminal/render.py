"""Search results, tables and counts as a terminal shows them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich.markup import escape
from rich.table import Table

from search.results import Contents, SearchHit, SearchResult
from sightline.config import Config
from sightline.terminal.options import out

FREQUENT = 8
"""Phrases that are listed when nothing matches."""


def counted(number: int, noun: str) -> str:
    """A count with its noun: `1 frame`, `324 frames`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def new_table(columns: Sequence[str], *, right: Collection[str] = ()) -> Table:
    """A table without lines; the columns in `right` are aligned to the right."""
    table = Table(box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return table


def print_result(result: SearchResult, config: Config) -> None:
    if result.unknown_words:
        out.print(f"[yellow]the {config.models} models do not know: {', '.join(result.unknown_words)}[/]", markup=True)
    if result.negatives:
        out.print(f"[dim]without: {', '.join(result.negatives)}[/]", markup=True)
    if result.nothing_matches:
        _print_nothing(result)
    elif not result.hits:
        out.print("no picture matches the filters")
    else:
        _print_hits(result)


def _print_hits(result: SearchResult) -> None:
    for hit in result.hits:
        out.print(_lines(hit), markup=True, soft_wrap=True)
    if result.text and not result.calibrated:
        out.print("[yellow]not calibrated: `sightline calibrate` turns scores into probabilities[/]", markup=True)


def _lines(hit: SearchHit) -> str:
    """Two lines: how well it matches and what it shows; where it comes from."""
    payload = hit.payload
    match = f"{hit.score:+.3f}" if hit.probability is None else f"{hit.probability:4.0%}"
    description = payload.get("caption") or ", ".join(payload.get("labels", ())) or "no caption"
    time = str(payload.get("time") or "")[:19].replace("T", " ")
    return f"[bold green]{match:>6}[/]  {escape(description)}\n[dim]        {payload['feed']} · {time} · {hit.id}[/]"


def _print_nothing(result: SearchResult) -> None:
    closest = "" if result.best is None else f"; the closest picture matches with a probability of {result.best:.0%}"
    out.print(f"[bold]nothing matches[/]{closest}", markup=True)
    if result.contents:
        out.print(f"[dim]{contents_line(result.contents)}[/]", markup=True)


def contents_line(contents: Contents) -> str:
    """What an index holds."""
    phrases = ", ".join(f"{name} ({count})" for name, count in list(contents.phrases.items())[:FREQUENT])
    return f"Index: {counted(contents.pictures, 'picture')}" + (f"; most frequent: {phrases}" if phrases else "")
