"""Finds a stage by its name and builds it with its settings, collecting every mistake."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from processors import stages
from sightline.config_parser import shaped


def stage_class(name: str, table: Mapping[str, Any]) -> type[Any]:
    """The class of stage `name`: in `processors/stages/NAME.py`, or in the file that its table gives as `file`.

    Raises ValueError saying where it was looked for and what is there instead.
    """
    module = _own_module(name, Path(table["file"])) if "file" in table else _shipped_module(name)
    found = [entry for _, entry in inspect.getmembers(module, inspect.isclass) if _is_stage(entry, name)]
    if len(found) != 1:
        raise ValueError(f"{module.__file__}: {len(found) or 'no'} stage class with name = {name!r}; one is expected")
    return found[0]


def stage_settings(name: str, stage: type[Any], table: Mapping[str, Any], errors: list[str]) -> Any:
    """The stage's `Settings` from `[stages.NAME]`; mistakes are added to `errors`."""
    return shaped(stage.Settings, {key: table[key] for key in table if key != "file"}, errors, f"stages.{name}")


def _is_stage(entry: type[Any], name: str) -> bool:
    return getattr(entry, "name", None) == name and hasattr(entry, "process") and not inspect.isabstract(entry)


def _shipped_module(name: str) -> ModuleType:
    names = shipped_stages()
    if name not in names:
        raise ValueError(
            f"no stage {name!r}: there is no processors/stages/{name}.py (there are: {', '.join(names)}); "
            f"for a stage of your own give its file: [stages.{name}] file = 'path.py'"
        )
    return importlib.import_module(f"{stages.__name__}.{name}")


def shipped_stages() -> list[str]:
    """Names of our own stages, found by their files alone: importing some of them takes seconds."""
    files = Path(stages.__path__[0]).glob("*.py")
    return sorted(path.stem for path in files if path.stem != "__init__")


def _own_module(name: str, path: Path) -> ModuleType:
    path = path.expanduser().absolute()
    if not path.is_file():
        raise ValueError(f"stages.{name}.file: no such file: {path}")
    spec = importlib.util.spec_from_file_location(f"sightline_stage_{name}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"stages.{name}.file: not a Python file: {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
