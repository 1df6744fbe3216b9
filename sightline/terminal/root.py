"""The options of `sightline` itself."""

from __future__ import annotations

from importlib.metadata import version as installed_version
from typing import Annotated

import typer


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - called by typer
    if wanted:
        typer.echo(f"sightline {installed_version('sightline')}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
]


def root(version: Version = False) -> None:  # noqa: FBT002 - a flag as typed
    """With a callback, an app of one command stays a group instead of becoming that command."""
