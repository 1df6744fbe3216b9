"""What every command shares: the common options, the consoles, and one way to report errors."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn, get_type_hints

import typer
from rich.markup import escape

from processors.errors import StageError
from schemas.errors import SchemaError
from search.calibrate import BadCalibration
from sightline.config import load, load_with_mistakes, renamed_keys
from sightline.config_parser import ConfigError, merged, put, read_text_value
from sightline.terminal.console import err as err
from sightline.terminal.console import out as out
from sightline.terminal.foreign_text import visible, visible_lines
from sightline.terminal.logs import configure
from sightline.terminal.signals import cancelling, doing
from stores.errors import StoreError
from streams.errors import StreamError
from streams.sources.source import UnreadableSource

ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="TOML file; default: sightline.toml, if it exists.")
]
Data = Annotated[str | None, typer.Option("--data", help="Folder of the embedded log, index and blobs.")]
Models = Annotated[str | None, typer.Option("--models", "-m", help="Model preset: tiny, base or large.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Set any configuration key, e.g. --set worker.batch_frames=32. Repeatable."),
]
SERVICES = ("work", "feeds run", "serve", "analytics")
"""Commands that run until they are stopped: programs read their standard error, people that of the others."""
_COMMON = {"config_file": ConfigFile, "data": Data, "models": Models, "settings": Settings}


class UsageError(Exception):
    """The command was typed wrongly; the message says what to type instead. Exit status 2."""


class CommandError(Exception):
    """The command cannot do its work with the files and data that are there; the message says what to do. Status 1."""


FAILURES = (CommandError, SchemaError, StageError, StoreError, StreamError, BadCalibration, OSError)
"""Errors whose message is for people; any other is a fault of ours, and its traceback is shown."""


def configured(command: Callable[..., Any]) -> Callable[..., None]:
    """Make a command of `command(config, …)`: adds the common options, runs coroutines, turns errors into exits.

    A parameter whose type is a dataclass is a group of options: each of its fields is one. Exit status 2 means wrong
    configuration or use, 1 a failure while running, 130 an interruption.
    """
    return _with_options(command, 1, lambda file, flags: [load(file, flags)])


def configured_with_mistakes(command: Callable[..., Any]) -> Callable[..., None]:
    """As `configured`, for `command(config, mistakes, …)`: wrong keys have their defaults, and stand in `mistakes`."""
    return _with_options(command, 2, load_with_mistakes)


def _with_options(
    command: Callable[..., Any], given_by_us: int, prepare: Callable[[Path | None, dict[str, Any]], Sequence[Any]]
) -> Callable[..., None]:
    """`prepare` makes the first `given_by_us` arguments from the configuration's file and flags."""
    own = list(inspect.signature(command, eval_str=True).parameters.values())[given_by_us:]
    options = [option for parameter in own for option in _options(parameter)]
    common = [_option(name, kind, None) for name, kind in _COMMON.items()]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        chosen = {name: given.pop(name) for name in _COMMON}
        try:
            flags = _flags(chosen["data"], chosen["models"], chosen["settings"])
            first = prepare(chosen["config_file"], flags)
            configure(first[0], is_service=_title(command) in SERVICES)
            print_lines(renamed_keys(chosen["config_file"], flags))
            with doing(f"running sightline {_title(command)}"):
                result = command(*first, **_arguments(own, given))
                if isinstance(result, Coroutine):
                    asyncio.run(_cancellable(result))
        except KeyboardInterrupt:  # where signals are not answered by `signals`: in another program's process
            fail("interrupted; everything accepted is kept", 130)
        except Exception as error:
            exit_after(error)

    run.__signature__ = inspect.Signature([*options, *common])  # type: ignore[attr-defined]
    run.__annotations__ = {entry.name: entry.annotation for entry in (*options, *common)}
    return run


def _title(command: Callable[..., Any]) -> str:
    """What a person types: `search`, `dead list`."""
    name, module = command.__name__.rstrip("_"), command.__module__.rpartition(".")[2]
    return name if module in (name, "oneshot") else f"{module} {name}"


async def _cancellable(command: Coroutine[Any, Any, None]) -> None:
    with cancelling():
        await command


def exit_after(error: Exception) -> NoReturn:
    """Print an error that is for people and exit; raises any other, and what ends a program quietly."""
    cause = first_cause(error)
    if isinstance(cause, ConfigError | UsageError):
        fail(str(cause), 2)
    if isinstance(cause, BrokenPipeError):
        raise cause
    if isinstance(cause, FAILURES) and not (isinstance(cause, OSError) and cause.errno is None):
        fail(message(cause), 1)
    raise error


def first_cause(error: Exception) -> Exception:
    """The first error of a group of tasks; any other error itself."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def message(error: Exception) -> str:
    """An operating system's error as `PATH: no space left on device`; any other's own text, names made visible."""
    if not isinstance(error, OSError) or not error.strerror:
        text = str(error) or type(error).__name__
        return visible(text) if isinstance(error, UnreadableSource) else visible_lines(text)
    reason = error.strerror[:1].lower() + error.strerror[1:]
    return reason if error.filename is None else visible(f"{os.fsdecode(error.filename)}: {reason}")


def print_lines(lines: Sequence[str]) -> None:
    """Print what a person should know to standard error; the command goes on."""
    for line in lines:
        err.print(f"[yellow]![/] {escape(line)}", markup=True, soft_wrap=True)


def fail(text: str, status: int) -> NoReturn:
    """Print the text to standard error and exit."""
    for line in text.splitlines() or ["failed"]:
        err.print(f"[bold red]✗[/] {escape(line)}", markup=True, soft_wrap=True)
    raise typer.Exit(status)


def _flags(data: str | None, models: str | None, settings: list[str] | None) -> dict[str, Any]:
    """What was typed, as tables of the configuration. Raises ConfigError."""
    flags: dict[str, Any] = {}
    wrong = [setting for setting in settings or [] if "=" not in setting]
    if wrong:
        raise ConfigError([f"--set {setting}: write it as --set section.key=value" for setting in wrong])
    for setting in settings or []:
        key, _, text = setting.partition("=")
        put(flags, key.split("."), read_text_value(text))
    named = {key: value for key, value in (("data", data), ("models", models)) if value is not None}
    return merged(flags, named)


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
