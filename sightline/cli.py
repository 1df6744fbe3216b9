"""The `sightline` command. Each command, or group of them, is a module of `sightline.commands`."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported: ten times faster on shared cores

import sys
from collections.abc import Collection, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.terminal import arguments, signals, text_encoding

if TYPE_CHECKING:  # imported below, when Ctrl-C is answered already
    import typer

CHAIN = (
    *("demo", "ingest", "work", "serve", "search", "explore", "show"),
    *("check", "repair", "forget", "keep", "storage", "compact", "backup", "restore", "calibrate", "analytics"),
)
ON_ONE_PICTURE = ("caption", "detect", "embed", "classify")
GROUPS = ("models", "dead", "topics", "groups", "feeds", "config")
COMMANDS = (*CHAIN, *ON_ONE_PICTURE, *GROUPS)
WITHOUT_COMMAND = ("--version", "--install-completion", "--show-completion")
"""Options of `sightline` itself that need no command."""
COMPLETED_LINES = ("COMP_WORDS", "_TYPER_COMPLETE_ARGS")
"""The variables in which a shell hands over the line to complete."""

HELP = (
    "Sightline turns image feeds into enriched events, a vector index that people search, and a page.\n\n"
    "Start with [bold]sightline demo[/]. Then try [bold]sightline ingest PATH[/], [bold]work[/], [bold]serve[/] and "
    "[bold]search[/] with your own pictures."
)


def make_app(names: Collection[str] = COMMANDS) -> typer.Typer:
    """The command with these subcommands. Their modules are imported now; importing all of them takes seconds."""
    app = _empty_app()
    for name in names:
        if name in GROUPS:
            app.add_typer(_module(name).app, name=name)
        elif name in ON_ONE_PICTURE:
            app.command(rich_help_panel="Models on one picture")(getattr(_module("oneshot"), name))
        else:
            app.command(rich_help_panel="The chain")(getattr(_module(name), name))
    return app


def _empty_app() -> typer.Typer:
    import typer

    from sightline.terminal.root import root

    app = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(help=HELP)(root)
    return app


def outline() -> typer.Typer:
    """All commands by name and purpose, without importing one: what completing a command's name needs."""
    app = _empty_app()
    for name in COMMANDS:
        app.command(name, help=_purpose(name))(lambda: None)
    return app


def _purpose(name: str) -> str:
    """What the first line of the command's module says behind its name."""
    module = "oneshot" if name in ON_ONE_PICTURE else name
    with Path(__file__).with_name("commands").joinpath(f"{module}.py").open(encoding="utf-8") as file:
        return file.readline().strip('"\n').partition(": ")[2]


def app_for(words: Sequence[str], environment: Mapping[str, str]) -> typer.Typer:
    """The command for these words, or for completing the line that a shell hands over."""
    if "_SIGHTLINE_COMPLETE" not in environment:
        return make_app(needed(words))
    line = " ".join(environment.get(name, "") for name in COMPLETED_LINES).split()[1:]
    return make_app(line[:1]) if line[:1] and line[0] in COMMANDS else outline()


def needed(words: Sequence[str]) -> Collection[str]:
    """The commands that have to be imported for these words."""
    if words and words[0].partition("=")[0] in WITHOUT_COMMAND:
        return ()
    name = next((word for word in words if not word.startswith("-")), "")
    return [name] if name in COMMANDS else COMMANDS


def _module(name: str) -> Any:
    return import_module(f"sightline.commands.{name}")


def main() -> None:
    signals.install()
    text_encoding.print_what_can_be_printed()
    if (reason := arguments.refusal(sys.argv[1:])) is not None:
        print(f"✗ {reason}", file=sys.stderr)
        sys.exit(2)
    try:
        app_for(sys.argv[1:], os.environ)()
    finally:
        text_encoding.flush_quietly()
