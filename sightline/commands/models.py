"""`sightline models`: which weights there are, fetching them, and checking those that are there."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from processors.models.fetch import FetchError, pull, verify
from processors.models.presets import TINY, File, Model, Preset
from sightline.config import Config
from sightline.terminal.options import UsageError, configured, err, out
from sightline.wiring.weights import known_presets, preset_root

app = typer.Typer(no_args_is_help=True, help="Model weights: list, pull, verify. Nothing is fetched unless asked.")

Name = Annotated[str, typer.Argument(help="A preset: tiny, base or large.")]
SLOW_LINE, FAST_LINE = 20e6 / 8, 500e6 / 8
"""Bytes a second of a usual and of a fast line, to say how long a download takes."""


def _preset(name: str) -> Preset:
    known = known_presets()
    if name not in known:
        raise UsageError(f"there is no preset {name!r}; there are {', '.join(known)}")
    return known[name]


def duration(size_bytes: int) -> str:
    """How long a download of so many bytes takes, as people say it."""
    slow, fast = (max(size_bytes / line / 60, 0.1) for line in (SLOW_LINE, FAST_LINE))
    return f"{size_bytes / 1e9:.1f} GB, {fast:.0f} to {slow:.0f} minutes"


@app.command("list")
@configured
def list_(config: Config) -> None:
    """List presets, their models, and whether their files are there."""
    table = Table(box=None, pad_edge=False)
    for name in ("preset", "role", "model", "licence", "size", "here"):
        table.add_column(name, justify="right" if name == "size" else "left")
    for name, preset in known_presets().items():
        for model in preset.models:
            findings = verify([model], preset_root(config, name))
            here = "yes" if all(found.state in ("ok", "unknown") for found in findings) else "no"
            size = f"{model.size_bytes / 1e6:.1f} MB" if model.size_bytes else ""
            table.add_row(name, model.role, model.folder, model.licence or "AGPL-3.0", size, here)
    out.print(table)
    for name, preset in known_presets().items():
        note = "shipped" if name == TINY else f"`sightline models pull {name}` fetches {duration(preset.size_bytes)}"
        out.print(f"[bold]{name}[/]: {preset.about}; {note}", markup=True)


@app.command("pull")
@configured
def pull_(config: Config, name: Name) -> None:
    """Fetch a preset's weights; goes on where it broke off, and keeps nothing whose hash is wrong."""
    preset = _preset(name)
    if name == TINY:
        out.print("tiny is shipped; there is nothing to fetch")
        return
    root = preset_root(config, name)
    err.print(f"fetching {duration(preset.size_bytes)} into {root}")
    columns = (
        TextColumn("{task.description}"),
        BarColumn(24),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    try:
        with Progress(*columns, console=err) as bars:
            tasks: dict[tuple[str, str], int] = {}

            def report(model: Model, file: File, done: int, total: int) -> None:
                key = (model.folder, file.name)
                if key not in tasks:
                    tasks[key] = bars.add_task(f"{model.folder}/{file.name}", total=total or None)
                bars.update(tasks[key], completed=done, total=total or None)  # type: ignore[arg-type]

            pull(preset.models, root, report)
    except FetchError as error:
        raise UsageError(f"{error}\nrun the command again: it goes on where it broke off") from None
    out.print(f"{name} is there: `--models {name}` uses it")


@app.command("verify")
@configured
def verify_(config: Config, name: Name = TINY) -> None:
    """Compare every file of a preset with its hash."""
    findings = verify(_preset(name).models, preset_root(config, name))
    for found in findings:
        colour = {"ok": "green", "unknown": "yellow"}.get(found.state, "red")
        out.print(f"[{colour}]{found.state:8}[/] {found.model.folder}/{found.file.name}", markup=True)
    if any(found.state in ("missing", "wrong") for found in findings):
        way_out = "install sightline anew" if name == TINY else f"`sightline models pull {name}` mends it"
        raise UsageError(f"{name} is not whole; {way_out}")
