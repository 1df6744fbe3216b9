"""Builds a worker for one segment of the plan: its stages, their weights, the collections they fill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgspec
from prometheus_client import CollectorRegistry

from processors.models import torch_threads
from processors.models.input_size import longest_side, plan_side
from processors.models.model_card import Fit
from processors.stage import AnyStage
from schemas import points
from sightline.config import Config
from sightline.config_parser import ConfigError
from sightline.wiring.parts import Parts
from sightline.wiring.stage_loader import stage_class, stage_settings
from sightline.wiring.weights import FILLED, chosen_device, model_set, with_weights
from stores.index import CollectionSpec
from streams.backends import Backends
from streams.metrics import Metrics
from streams.plan import Plan, StageShape, check
from streams.worker.segment import SegmentSpec
from streams.worker.settings import WorkerSettings
from streams.worker.worker import Worker


@dataclass(frozen=True, slots=True)
class Stages:
    """The classes of every stage of the plan, and their settings, all of them right."""

    classes: dict[str, type[Any]]
    settings: dict[str, Any]

    @property
    def shapes(self) -> Mapping[str, StageShape]:
        return cast(Mapping[str, StageShape], self.classes)

    def build(self, names: Sequence[str]) -> list[AnyStage]:
        return [self.classes[name](self.settings[name]) for name in names]


def checked_stages(config: Config) -> Stages:
    """Raises ConfigError with every stage that is not there and every wrong setting, PlanError for what cannot work."""
    errors: list[str] = []
    plan = Plan(config.segments)
    classes = {name: found for name in plan.stages if (found := _class(config, name, errors)) is not None}
    unused = sorted(set(config.stages) - set(plan.stages))
    errors += [f"stages.{name}: no segment of the plan has this stage" for name in unused]
    settings = {name: _settings(config, name, kind, errors) for name, kind in classes.items()}
    if errors:
        raise ConfigError(errors)
    stages = Stages(classes, settings)
    check(plan, stages.shapes)
    return stages


def _class(config: Config, name: str, errors: list[str]) -> type[Any] | None:
    try:
        return stage_class(name, config.stages.get(name, {}))
    except ValueError as error:
        errors.append(str(error))
        return None


def _settings(config: Config, name: str, kind: type[Any], errors: list[str]) -> Any:
    return stage_settings(name, kind, {**_defaults(config, name), **with_weights(config, name)}, errors)


def _defaults(config: Config, stage: str) -> dict[str, Any]:
    """What a stage cannot know alone: which stages stand in the whole plan, and how large they look."""
    names = Plan(config.segments).stages
    if stage == "gate":
        from processors.stages.gate import GateSettings

        return {"stages": [name for name in GateSettings().stages if name in names]}
    return {"max_side": _largest_side(config, names)} if stage == "decode" else {}


def _largest_side(config: Config, names: Sequence[str]) -> int:
    """The longest side in pixels that any model of the plan looks at; 0 (full size) without a model."""
    sides = []
    for name in names:
        table = with_weights(config, name)
        fit: Fit = table.get("fit") or "pad"
        sides += [longest_side(Path(table[key]).expanduser(), fit) for key in FILLED.get(name, {})]
    return plan_side(sides)


def worker_settings(config: Config) -> WorkerSettings:
    """`[worker]` with what follows from the rest: device and model set."""
    weighted = [name for name in Plan(config.segments).stages if name in FILLED]
    device = chosen_device(config.worker.device) if weighted else "cpu"
    if "embed" not in weighted:
        return msgspec.structs.replace(config.worker, device=device)
    embed = with_weights(config, "embed")
    return msgspec.structs.replace(config.worker, device=device, model_set=model_set(config, embed, device))


def collections(config: Config, settings: WorkerSettings) -> dict[str, CollectionSpec]:
    """The collections of the model set, by alias; none for a plan that embeds nothing."""
    if not settings.model_set:
        return {}
    embed = with_weights(config, "embed")
    sizes = {points.SEMANTIC: _dimension(embed["weights"]), points.VISUAL: _dimension(embed["visual_weights"])}
    return {
        "frames": CollectionSpec(
            name=points.collection("frames", settings.model_set), vectors=sizes, payload=dict(points.FRAME_FIELDS)
        ),
        "regions": CollectionSpec(
            name=points.collection("regions", settings.model_set), vectors=sizes, payload=dict(points.REGION_FIELDS)
        ),
    }


def _dimension(folder: str) -> int:
    """The size of a model's vectors, from its configuration alone."""
    shape = msgspec.json.decode((Path(folder).expanduser() / "config.json").read_bytes())
    return int(shape.get("projection_dim") or shape.get("hidden_size") or shape["vision_config"]["hidden_size"])


def build_worker(parts: Parts, segment: int, registry: CollectorRegistry | None = None) -> Worker:
    """A worker that is ready to run. Raises ConfigError, PlanError, WrongWeights."""
    config, plan = parts.config, parts.plan
    torch_threads.set_worker_count(config.workers)
    stages, settings = checked_stages(config), worker_settings(config)
    spec = SegmentSpec(
        plan=plan,
        number=segment,
        stages=stages.build(plan.segments[segment]),
        plan_stages=stages.shapes,
        collections=collections(config, settings),
    )
    backends = Backends(parts.transport, parts.index, parts.blobs)
    return Worker(backends, spec, settings, Metrics(registry or CollectorRegistry()))
