"""`sightline config check`: what holds, or every mistake at once."""

from __future__ import annotations

import msgspec
import typer

from sightline.config import Config
from sightline.terminal.options import configured, out
from sightline.wiring.build_worker import checked_stages

app = typer.Typer(no_args_is_help=True, help="The configuration: check it and see what holds.")


@app.command()
@configured
def check(config: Config) -> None:
    """Check file, environment and flags together, the plan and every stage's settings; print what holds."""
    checked_stages(config)
    out.print_json(msgspec.json.encode(config).decode())


@app.callback()
def _group() -> None:
    """Makes `check` a command of a group, though it is alone."""
