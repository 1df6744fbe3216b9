"""Search results as people read them in a terminal."""

from __future__ import annotations

from rich.table import Table

from search.results import Contents, Found, SearchResult
from sightline.config import Config
from sightline.options import out


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
        out.print(_table(result.hits))
        if result.text and not result.calibrated:
            out.print("[yellow]uncalibrated: `sightline calibrate` makes scores probabilities[/]", markup=True)


def _table(hits: tuple[Found, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("match", "caption", "feed", "time", "frame"):
        table.add_column(name, justify="right" if name == "match" else "left", no_wrap=name in ("frame", "time"))
    for hit in hits:
        match = f"{hit.score:.3f}" if hit.probability is None else f"{hit.probability:.0%}"
        payload = hit.payload
        time = str(payload.get("time") or "")[:19].replace("T", " ")
        table.add_row(
            match, payload.get("caption") or ", ".join(payload.get("labels", ())), payload["feed"], time, hit.id
        )
    return table


def _tell_nothing(result: SearchResult) -> None:
    best = "" if result.best is None else f" (the closest of all is a match with {result.best:.0%})"
    out.print(f"[bold]nothing matches[/]{best}", markup=True)
    if result.contents:
        out.print(f"[dim]there are {contained(result.contents)}[/]", markup=True)


def contained(contents: Contents) -> str:
    """What an index holds, in a line."""
    phrases = ", ".join(f"{name} ({count})" for name, count in list(contents.phrases.items())[:8])
    return f"{contents.pictures} pictures" + (f", among them {phrases}" if phrases else "")
