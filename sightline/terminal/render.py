"""Search results as people read them in a terminal."""

from __future__ import annotations

from rich.markup import escape

from search.results import Contents, Found, SearchResult
from sightline.config import Config
from sightline.terminal.options import out


def tell(result: SearchResult, config: Config) -> None:
    if result.unknown_words:
        out.print(f"[yellow]the {config.models} models do not know: {', '.join(result.unknown_words)}[/]", markup=True)
    if result.negatives:
        out.print(f"[dim]without: {', '.join(result.negatives)}[/]", markup=True)
    if result.nothing_matches:
        _tell_nothing(result)
    elif not result.hits:
        out.print("no picture fits the filters")
    else:
        for hit in result.hits:
            out.print(_lines(hit), markup=True, soft_wrap=True)
        if result.text and not result.calibrated:
            out.print("[yellow]uncalibrated: `sightline calibrate` makes scores probabilities[/]", markup=True)


def _lines(hit: Found) -> str:
    """Two lines: how well it matches and what it shows; where it comes from."""
    payload = hit.payload
    match = f"{hit.score:+.3f}" if hit.probability is None else f"{hit.probability:4.0%}"
    said = payload.get("caption") or ", ".join(payload.get("labels", ())) or "no caption"
    time = str(payload.get("time") or "")[:19].replace("T", " ")
    return f"[bold green]{match:>6}[/]  {escape(said)}\n[dim]        {payload['feed']} · {time} · {hit.id}[/]"


def _tell_nothing(result: SearchResult) -> None:
    best = "" if result.best is None else f" (the closest of all is a match with {result.best:.0%})"
    out.print(f"[bold]nothing matches[/]{best}", markup=True)
    if result.contents:
        out.print(f"[dim]there are {contained(result.contents)}[/]", markup=True)


def contained(contents: Contents) -> str:
    """What an index holds, in a line."""
    phrases = ", ".join(f"{name} ({count})" for name, count in list(contents.phrases.items())[:8])
    return f"{contents.pictures} pictures" + (f", among them {phrases}" if phrases else "")
