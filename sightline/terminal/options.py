"""Options that every command understands, and errors told in one way."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TextIO

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
"""A pipe or a file has no width; what programs read must not be broken into lines of a terminal that is not there."""


def _columns(stream: TextIO) -> int | None:
    return None if stream.isatty() or "COLUMNS" in os.environ else FILE_COLUMNS


out = Console(highlight=False, width=_columns(sys.stdout))
err = Console(stderr=True, highlight=False, width=_columns(sys.stderr))

ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="TOML file; default: sightline.toml if it is here.")
]
Data = Annotated[str | None, typer.Option("--data", help="Folder of the embedded log, index and blobs.")]
Models = Annotated[str | None, typer.Option("--models", "-m", help="Model preset: tiny, base or large.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Any key, e.g. --set worker.batch_frames=32; may be repeated.")
]
_SHARED = {"config_file": ConfigFile, "data": Data, "models": Models, "settings": Settings}


class UsageError(Exception):
    """What was asked cannot be done; the message names the way out."""


def _load(config_file: Path | None, data: str | None, models: str | None, settings: list[str] | None) -> Config:
    flags: dict[str, Any] = {}
    for setting in settings or []:
        key, equals, text = setting.partition("=")
        if not equals:
            raise ConfigError([f"--set {setting}: write it as --set section.key=value"])
        put(flags, key.split("."), read_text_value(text))
    named = {key: value for key, value in (("data", data), ("models", models)) if value is not None}
    return load(config_file, merged(flags, named))


def configured(command: Callable[..., Any]) -> Callable[..., None]:
    """Make a command of `command(config, …)`: adds the shared options, runs coroutines, turns errors into exits.

    Exit status 2 is a wrong setting or use, 1 a failure while running, 130 an interruption.
    """
    own = [entry for name, entry in inspect.signature(command, eval_str=True).parameters.items() if name != "config"]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in _SHARED.items()
    ]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        chosen = {name: given.pop(name) for name in _SHARED}
        try:
            config = _load(**chosen)
            configure(config)
            result = command(config, **given)
            if isinstance(result, Coroutine):
                asyncio.run(result)
        except (ConfigError, UsageError) as error:
            fail(str(error), 2)
        except (SchemaError, StageError, StoreError, StreamError, BadCalibration) as error:
            fail(str(error), 1)
        except KeyboardInterrupt:
            fail("interrupted; everything accepted is kept", 130)

    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [*(entry.replace(kind=inspect.Parameter.KEYWORD_ONLY) for entry in own), *shared]
    )
    run.__annotations__ = {entry.name: entry.annotation for entry in (*own, *shared)}
    return run


def fail(message: str, status: int) -> None:
    for line in message.splitlines() or ["failed"]:
        err.print(f"[bold red]✗[/] {escape(line)}", markup=True, soft_wrap=True)
    raise typer.Exit(status)
