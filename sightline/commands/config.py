"""`sightline config check`: the effective configuration, or every mistake in it."""

from __future__ import annotations

import msgspec
import typer

from sightline.config import Config
from sightline.config_parser import ConfigError
from sightline.terminal.options import configured_with_mistakes, out
from sightline.wiring.config_check import config_mistakes, without_passwords

app = typer.Typer(no_args_is_help=True, help="The configuration: check it and print the effective values.")


@app.command()
@configured_with_mistakes
def check(config: Config, mistakes: list[str]) -> None:
    """Check file, environment and flags, the plan, every stage's settings, addresses, files and weights.

    All mistakes are reported at once; without any the effective configuration is printed, passwords left out. What
    passes here, `sightline work` starts with.
    """
    if found := list(dict.fromkeys([*mistakes, *config_mistakes(config)])):
        raise ConfigError(found)
    out.print_json(msgspec.json.encode(without_passwords(config)).decode())


@app.callback()
def _group() -> None:
    """Makes `check` a command of a group, though it is the only one."""
