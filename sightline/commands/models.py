"""`sightline models`: list model presets, download their weights, verify installed ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from processors.models.download import DownloadError, pull, verify
from processors.models.presets import TINY, File, Model, Preset
from sightline.config import Config
from sightline.terminal.options import CommandError, UsageError, configured, err, out
from sightline.terminal.render import new_table
from sightline.terminal.signals import doing
from sightline.wiring.weights import known_presets, preset_root

app = typer.Typer(no_args_is_help=True, help="Model weights: list, pull, verify. Only `pull` downloads anything.")

Name = Annotated[str, typer.Argument(help="A preset: tiny, base or large.")]
SLOW_LINE, FAST_LINE = 20e6 / 8, 500e6 / 8
"""Bytes per second of a usual and of a fast line, to estimate the time of a download."""
COLORS = {"ok": "green", "unknown": "yellow"}
"""Of a file's state; all others are red."""


def _preset(name: str) -> Preset:
    known = known_presets()
    if name not in known:
        raise UsageError(f"unknown preset {name!r}; use one of {', '.join(known)}")
    return known[name]


def download_estimate(size_bytes: int) -> str:
    """Size and time of a download: `2.4 GB, 1 to 16 minutes`."""
    slow, fast = (max(size_bytes / line / 60, 0.1) for line in (SLOW_LINE, FAST_LINE))
    return f"{size_bytes / 1e9:.1f} GB, {fast:.0f} to {slow:.0f} minutes"


@app.command("list")
@configured
def list_(config: Config) -> None:
    """List presets and their models, and whether each is installed."""
    table = new_table(("preset", "role", "model", "license", "size", "installed"), right=("size",))
    for name, preset in known_presets().items():
        for model in preset.models:
            findings = verify([model], preset_root(config, name))
            installed = "yes" if all(finding.state in ("ok", "unknown") for finding in findings) else "no"
            size = f"{model.size_bytes / 1e6:.1f} MB" if model.size_bytes else ""
            table.add_row(name, model.role, model.folder, model.license or "AGPL-3.0", size, installed)
    out.print(table)
    for name, preset in known_presets().items():
        estimate = download_estimate(preset.size_bytes)
        note = "shipped" if name == TINY else f"install with `sightline models pull {name}` ({estimate})"
        out.print(f"[bold]{name}[/]: {preset.about}; {note}", markup=True)


@app.command("pull")
@configured
def pull_(config: Config, name: Name) -> None:
    """Download a preset's weights. An interrupted download resumes; a file with a wrong hash is not kept."""
    preset = _preset(name)
    if name == TINY:
        out.print("tiny is shipped with sightline; there is nothing to download")
        return
    root = preset_root(config, name)
    err.print(f"downloading {download_estimate(preset.size_bytes)} into {root}")
    _download(preset, root)
    out.print(f"{name} is installed; use `--models {name}`")


def _download(preset: Preset, root: Path) -> None:
    """With a progress bar for each file. Raises UsageError."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(24),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    try:
        with Progress(*columns, console=err) as bars:
            tasks: dict[tuple[str, str], TaskID] = {}

            def report(model: Model, file: File, done: int, total: int) -> None:
                key = (model.folder, file.name)
                if key not in tasks:
                    tasks[key] = bars.add_task(f"{model.folder}/{file.name}", total=total or None)
                bars.update(tasks[key], completed=done, total=total or None)

            with doing("downloading; run the command again to resume"):
                pull(preset.models, root, report)
    except DownloadError as error:
        raise CommandError(f"{error}\nrun the command again to resume the download") from None


@app.command("verify")
@configured
def verify_(config: Config, name: Name = TINY) -> None:
    """Compare every file of a preset with its hash."""
    findings = verify(_preset(name).models, preset_root(config, name))
    for finding in findings:
        color = COLORS.get(finding.state, "red")
        out.print(f"[{color}]{finding.state:8}[/] {finding.model.folder}/{finding.file.name}", markup=True)
    if any(finding.state in ("missing", "wrong") for finding in findings):
        remedy = "install sightline again" if name == TINY else f"run `sightline models pull {name}`"
        raise CommandError(f"{name} is incomplete or damaged; {remedy}")
