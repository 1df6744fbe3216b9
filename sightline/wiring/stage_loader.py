"""Finds the stages of the plan by name, and builds them with their settings; all mistakes are reported together."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import structlog
from msgspec import structs

from processors import stages
from processors.models.input_size import FULL_SIZE, longest_side, plan_side
from processors.models.model_card import Fit
from processors.models.presets import TINY
from processors.stage import AnyStage, traits
from sightline.config import Config
from sightline.config_parser import ConfigError, shaped
from sightline.wiring.weights import WEIGHT_ROLES, with_weights
from streams.errors import PlanError
from streams.plan import Plan, StageShape, reasons_against, shape_reasons

log = structlog.get_logger("sightline.wiring")


@dataclass(frozen=True, slots=True)
class Stages:
    """The class of every stage of the plan and its settings, all of them valid."""

    classes: dict[str, type[Any]]
    settings: dict[str, Any]

    @property
    def shapes(self) -> Mapping[str, StageShape]:
        return cast(Mapping[str, StageShape], self.classes)

    def build(self, names: Sequence[str]) -> list[AnyStage]:
        return [self.classes[name](self.settings[name]) for name in names]


def checked_stages(config: Config) -> Stages:
    """Raises ConfigError with every missing stage and every wrong setting, PlanError for a plan that cannot work."""
    stages, errors, reasons = find_stages(config)
    if errors:
        raise ConfigError([*errors, *reasons])
    if reasons:
        raise PlanError(reasons)
    return stages


def find_stages(config: Config) -> tuple[Stages, list[str], list[str]]:
    """The stages that exist, with the mistakes in their tables and the reasons why the plan cannot work."""
    errors: list[str] = []
    plan = Plan(config.segments)
    classes = _classes(config, plan, errors)
    complete = len(classes) == len(plan.stages)
    unused = sorted(set(config.stages) - set(plan.stages))
    errors += [f"stages.{name}: no segment of the plan has this stage" for name in unused]
    settings = {name: _settings(config, name, classes, errors) for name in classes}
    stages = Stages(classes, settings)
    return (
        stages,
        list(dict.fromkeys(errors)),
        reasons_against(plan, stages.shapes) if complete else shape_reasons(plan),
    )


def skip_states(config: Config) -> dict[str, str]:
    """What the plan's stages declare as `skip_states`. A stage whose file is not on this machine is left out."""
    errors: list[str] = []
    classes = _classes(config, Plan(config.segments), errors)
    for error in errors:
        log.warning("stage_not_found", why=error)
    return {prefix: state for kind in classes.values() for prefix, state in traits(kind).skip_states.items()}


def embedding_stages(config: Config) -> frozenset[str]:
    """The plan's stages that give frames their points. Raises ConfigError, PlanError."""
    shapes = checked_stages(config).shapes
    return frozenset(name for name, shape in shapes.items() if "embeddings" in shape.provides)


def stage_class(name: str, table: Mapping[str, Any]) -> type[Any]:
    """The class of stage `name`: in `processors/stages/NAME.py`, or in the file that its table gives as `file`.

    Raises ValueError, naming where the stage was looked for and what is there instead.
    """
    module = _own_module(name, Path(str(table["file"]))) if "file" in table else _shipped_module(name)
    classes = [kind for _, kind in inspect.getmembers(module, inspect.isclass) if _is_stage(kind, name)]
    if len(classes) != 1:
        count = len(classes) or "no"
        raise ValueError(f"{module.__file__}: {count} stage class with name = {name!r}; one is expected")
    return classes[0]


def stage_settings(name: str, stage: type[Any], table: Mapping[str, Any], errors: list[str]) -> Any:
    """The stage's `Settings` from `[stages.NAME]`; mistakes are added to `errors`."""
    return shaped(stage.Settings, {key: table[key] for key in table if key != "file"}, errors, f"stages.{name}")


def shipped_stages() -> list[str]:
    """Names of the shipped stages, read from the files' names: importing some of them takes seconds."""
    files = Path(stages.__path__[0]).glob("*.py")
    return sorted(path.stem for path in files if path.stem != "__init__")


def _classes(config: Config, plan: Plan, errors: list[str]) -> dict[str, type[Any]]:
    """Those that exist; a line is added to `errors` for each of the others."""
    classes = {}
    for name in plan.stages:
        try:
            classes[name] = stage_class(name, config.stages.get(name, {}))
        except ValueError as error:
            errors.append(str(error))
    return classes


def _settings(config: Config, name: str, classes: Mapping[str, type[Any]], errors: list[str]) -> Any:
    """None with lines in `errors` for what is wrong; with an unknown preset the rest of the table is checked too."""
    try:
        table = {**_plan_settings(config, name, classes), **with_weights(config, name)}
    except ConfigError as error:
        errors += error.errors
        return _settings(structs.replace(config, models=TINY), name, classes, errors)
    return stage_settings(name, classes[name], table, errors)


def _plan_settings(config: Config, name: str, classes: Mapping[str, type[Any]]) -> dict[str, Any]:
    """Settings that follow from the plan, which the configuration may override.

    A setting `stages` that names other stages keeps those that the plan has. A stage that provides `pixels` learns as
    `max_side` how large the others need them.
    """
    stage, names = classes[name], Plan(config.segments).stages
    defaults = {setting.name: setting.default for setting in structs.fields(stage.Settings)}
    settings: dict[str, Any] = {}
    if isinstance(defaults.get("stages"), tuple):
        settings["stages"] = [other for other in defaults["stages"] if other in names]
    if "max_side" in defaults and "pixels" in stage.provides:
        settings["max_side"] = _largest_side(config, classes)
    return settings


def _largest_side(config: Config, classes: Mapping[str, type[Any]]) -> int:
    """The longest side in pixels that a stage of the plan looks at; FULL_SIZE without a model, or if one needs all."""
    if any(traits(stage).full_size for stage in classes.values()):
        return FULL_SIZE
    sides = []
    for name in classes:
        table = with_weights(config, name)
        fit: Fit = table.get("fit") or "pad"
        sides += [longest_side(Path(table[key]).expanduser(), fit) for key in WEIGHT_ROLES.get(name, {})]
    return plan_side(sides)


def _is_stage(kind: type[Any], name: str) -> bool:
    return getattr(kind, "name", None) == name and hasattr(kind, "process") and not inspect.isabstract(kind)


def _shipped_module(name: str) -> ModuleType:
    names = shipped_stages()
    if name not in names:
        raise ValueError(
            f"no stage {name!r}: processors/stages/{name}.py does not exist (shipped: {', '.join(names)}); "
            f"for a stage of your own give its file: [stages.{name}] file = 'path.py'"
        )
    return importlib.import_module(f"{stages.__name__}.{name}")


def _own_module(name: str, path: Path) -> ModuleType:
    path = path.expanduser().absolute()
    if not path.is_file():
        raise ValueError(f"stages.{name}.file: no such file: {path}")
    spec = importlib.util.spec_from_file_location(f"sightline_stage_{name}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"stages.{name}.file: not a Python file: {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"stages.{name}.file: {path}: {type(error).__name__}: {error}") from error
    return module
