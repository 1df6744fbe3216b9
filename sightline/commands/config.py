"""`sightline config check`: the effective configuration, or every mistake in it."""

from __future__ import annotations

import msgspec
import typer

from sightline.config import Config
from sightline.terminal.options import configured, out
from sightline.wiring.stage_loader import checked_stages

app = typer.Typer(no_args_is_help=True, help="The configuration: check it and print the effective values.")


@app.command()
@configured
def check(config: Config) -> None:
    """Check file, environment and flags, the plan and every stage's settings; print the effective configuration."""
    checked_stages(config)
    out.print_json(msgspec.json.encode(config).decode())


@app.callback()
def _group() -> None:
    """Makes `check` a command of a group, though it is the only one."""
