"""What every command shares: the common options, the consoles, and one way to report errors."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, TextIO, get_type_hints

import typer
from rich.console import Console
from rich.markup import escape

from processors.errors import StageError
from schemas.errors import SchemaError
from search.calibrate import BadCalibration
from sightline.config import Config, load
from sightline.config_parser import ConfigError, merged, put, read_text_value
from sightline.terminal.logs import configure
from stores.errors import StoreError
from streams.errors import StreamError

FILE_COLUMNS = 240
"""Columns of a pipe or a file: wide, because programs that read it must not see broken lines."""


def _columns(stream: TextIO) -> int | None:
    return None if stream.isatty() or "COLUMNS" in os.environ else FILE_COLUMNS


out = Console(highlight=False, width=_columns(sys.stdout))
err = Console(stderr=True, highlight=False, width=_columns(sys.stderr))

ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="TOML file; default: sightline.toml, if it exists.")
]
Data = Annotated[str | None, typer.Option("--data", help="Folder of the embedded log, index and blobs.")]
Models = Annotated[str | None, typer.Option("--models", "-m", help="Model preset: tiny, base or large.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Set any configuration key, e.g. --set worker.batch_frames=32. Repeatable."),
]
_COMMON = {"config_file": ConfigFile, "data": Data, "models": Models, "settings": Settings}


class UsageError(Exception):
    """The command cannot do this; the message says what to do instead."""


def configured(command: Callable[..., Any]) -> Callable[..., None]:
    """Make a command of `command(config, …)`: adds the common options, runs coroutines, turns errors into exits.

    A parameter whose type is a dataclass is a group of options: each of its fields is one. Exit status 2 means wrong
    configuration or use, 1 a failure while running, 130 an interruption.
    """
    signature = inspect.signature(command, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "config"]
    options = [option for parameter in own for option in _options(parameter)]
    common = [_option(name, kind, None) for name, kind in _COMMON.items()]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        chosen = {name: given.pop(name) for name in _COMMON}
        try:
            config = _load(**chosen)
            configure(config)
            result = command(config, **_arguments(own, given))
            if isinstance(result, Coroutine):
                asyncio.run(result)
        except (ConfigError, UsageError) as error:
            fail(str(error), 2)
        except (SchemaError, StageError, StoreError, StreamError, BadCalibration) as error:
            fail(str(error), 1)
        except KeyboardInterrupt:
            fail("interrupted; everything accepted is kept", 130)

    run.__signature__ = inspect.Signature([*options, *common])  # type: ignore[attr-defined]
    run.__annotations__ = {entry.name: entry.annotation for entry in (*options, *common)}
    return run


def fail(message: str, status: int) -> None:
    """Print the message to standard error and exit."""
    for line in message.splitlines() or ["failed"]:
        err.print(f"[bold red]✗[/] {escape(line)}", markup=True, soft_wrap=True)
    raise typer.Exit(status)


def _load(config_file: Path | None, data: str | None, models: str | None, settings: list[str] | None) -> Config:
    flags: dict[str, Any] = {}
    for setting in settings or []:
        key, equals, text = setting.partition("=")
        if not equals:
            raise ConfigError([f"--set {setting}: write it as --set section.key=value"])
        put(flags, key.split("."), read_text_value(text))
    named = {key: value for key, value in (("data", data), ("models", models)) if value is not None}
    return load(config_file, merged(flags, named))


def _option(name: str, kind: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def _options(parameter: inspect.Parameter) -> list[inspect.Parameter]:
    """The parameter itself, or those of the group that it stands for."""
    group = parameter.annotation
    if not is_dataclass(group):
        return [_option(parameter.name, group, parameter.default)]
    kinds = get_type_hints(group, include_extras=True)
    return [_option(entry.name, kinds[entry.name], entry.default) for entry in fields(group)]


def _arguments(parameters: Sequence[inspect.Parameter], given: dict[str, Any]) -> dict[str, Any]:
    """What the command is called with: groups are built from their options."""
    arguments = dict(given)
    for parameter in parameters:
        group = parameter.annotation
        if isinstance(group, type) and is_dataclass(group):
            arguments[parameter.name] = group(**{entry.name: arguments.pop(entry.name) for entry in fields(group)})
    return arguments
