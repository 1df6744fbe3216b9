"""The `sightline` command. Each command, or group of them, is a module of `sightline.commands`."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported: ten times faster on shared cores

import sys
from collections.abc import Collection
from importlib import import_module
from typing import Any

import typer

CHAIN = ("demo", "ingest", "work", "serve", "search", "explore", "show", "check", "forget", "calibrate", "analytics")
ON_ONE_PICTURE = ("caption", "detect", "embed", "classify")
GROUPS = ("models", "dead", "topics", "feeds", "config")
COMMANDS = (*CHAIN, *ON_ONE_PICTURE, *GROUPS)

HELP = (
    "Sightline turns image feeds into enriched events, a vector index that people search, and a page.\n\n"
    "Start with [bold]sightline demo[/]. Then try [bold]sightline ingest PATH[/], [bold]work[/], [bold]serve[/] and "
    "[bold]search[/] with your own pictures."
)


def make_app(names: Collection[str] = COMMANDS) -> typer.Typer:
    """The command with these subcommands. Their modules are imported now; importing all of them takes seconds."""
    app = typer.Typer(
        no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich"
    )
    app.callback(help=HELP)(_nothing)
    for name in names:
        if name in GROUPS:
            app.add_typer(_module(name).app, name=name)
        elif name in ON_ONE_PICTURE:
            app.command(rich_help_panel="Models on one picture")(getattr(_module("oneshot"), name))
        else:
            app.command(rich_help_panel="The chain")(getattr(_module(name), name))
    return app


def _module(name: str) -> Any:
    return import_module(f"sightline.commands.{name}")


def _nothing() -> None:
    """With a callback, an app of one command stays a group instead of becoming that command."""


def main() -> None:
    name = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    make_app([name] if name in COMMANDS else COMMANDS)()
