"""Search results, tables and counts as a terminal shows them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, tzinfo

from rich.table import Table

from schemas.points import is_out_of_domain
from search.results import Contents, SearchHit, SearchResult
from sightline.config import Config
from sightline.terminal.console import out, quoted

FREQUENT = 8
"""Phrases that are listed when nothing matches."""


def counted(number: int, noun: str) -> str:
    """A count with its noun: `1 frame`, `324 frames`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def monitor_line(began: str, url: str, port: int) -> str:
    """Where metrics and readiness are, and why they are not on `port` if that is in use."""
    reason = f", because port {port} is in use" if port and not url.endswith(f":{port}") else ""
    return f"{began}; metrics and readiness on {url}{reason}"


def new_table(columns: Sequence[str], *, right: Collection[str] = ()) -> Table:
    """A table without lines; the columns in `right` are aligned to the right."""
    table = Table(box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return table


def print_result(result: SearchResult, config: Config) -> None:
    if result.unknown_words:
        out.print(
            f"[yellow]the {config.models} models do not know: {quoted(', '.join(result.unknown_words))}[/]", markup=True
        )
    for note in result.notes:
        out.print(f"[yellow]{quoted(note)}[/]", markup=True)
    for name in result.unknown_names:
        nearest = f"; nearest: {', '.join(name.nearest)}" if name.nearest else ""
        out.print(f"[yellow]no {name.kind} {quoted(repr(name.name))} in the index{quoted(nearest)}[/]", markup=True)
    if result.counts:
        out.print(f"[dim]with: {quoted(', '.join(result.counts))}[/]", markup=True)
    if result.negatives:
        out.print(f"[dim]without: {quoted(', '.join(result.negatives))}[/]", markup=True)
    if result.out_of_domain:
        out.print(f"[yellow]{out_of_domain_line(result.out_of_domain, config.models)}[/]", markup=True)
    if result.nothing_matches:
        _print_nothing(result)
    elif not result.hits:
        out.print("no picture matches the filters" if not result.total else "no further picture")
    else:
        _print_hits(result, config.zone)


def _print_hits(result: SearchResult, zone: tzinfo | None) -> None:
    for hit in result.hits:
        out.print(_lines(hit, zone, with_match=result.ranked), markup=True, soft_wrap=True)
    if result.ranked and not result.calibrated:
        out.print("[yellow]not calibrated: `sightline calibrate` turns scores into probabilities[/]", markup=True)
    if result.more:
        total = f"{'' if result.total_is_exact else 'at least '}{counted(result.total, 'picture')}"
        out.print(f"[dim]{len(result.hits)} of {total}; the next ones: --cursor {result.cursor}[/]", markup=True)


def _lines(hit: SearchHit, zone: tzinfo | None, *, with_match: bool) -> str:
    """How well it matches and what it shows; its feed, time and id; the file or URL that it comes from."""
    payload = hit.payload
    match = f"{hit.score:+.3f}" if hit.probability is None else f"{hit.probability:4.0%}"
    description = payload.get("caption") or ", ".join(payload.get("labels", ())) or "no caption"
    if is_out_of_domain(payload):
        match, description = "", "unlike the pictures that the models were trained on"
    origin = f"{payload['feed']} · {local_time(payload.get('time'), zone)} · {hit.id}"
    lines = [
        f"[bold green]{match if with_match else '':>6}[/]  {quoted(description)}",
        f"[dim]        {quoted(origin)}[/]",
    ]
    lines += [f"[dim]        {quoted(payload['origin'])}[/]"] if payload.get("origin") else []
    return "\n".join(lines)


def local_time(moment: datetime | str | None, zone: tzinfo | None) -> str:
    """A time to the second in `zone` (None: the machine's) with its offset; a text that is no time, as it is."""
    try:
        moment = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
        return "" if moment is None else moment.astimezone(zone).isoformat(" ", "seconds")
    except (ValueError, OverflowError, OSError):
        return str(moment)


def out_of_domain_line(pictures: int, models: str) -> str:
    """Why words do not find some pictures, and what to do."""
    verb = "is" if pictures == 1 else "are"
    return (
        f"{counted(pictures, 'picture')} {verb} unlike those that the {models} models were trained on: no captions, and"
        " words do not find them. Models for photographs: `sightline models list`, then --models NAME"
    )


def _print_nothing(result: SearchResult) -> None:
    if result.nothing_left:
        out.print(
            "[bold]nothing to search for is left[/]; say what a picture shows, for example: a red circle", markup=True
        )
        return
    closest = "" if result.best is None else f"; the closest picture matches with a probability of {result.best:.0%}"
    out.print(f"[bold]nothing matches[/]{closest}", markup=True)
    if result.contents:
        out.print(f"[dim]{quoted(contents_line(result.contents))}[/]", markup=True)


def contents_line(contents: Contents) -> str:
    """What an index holds."""
    phrases = ", ".join(f"{name} ({count})" for name, count in list(contents.phrases.items())[:FREQUENT])
    return f"Index: {counted(contents.pictures, 'picture')}" + (f"; most frequent: {phrases}" if phrases else "")
