"""Builds a worker for one segment of the plan: its stages, their weights, the collections they fill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
from prometheus_client import CollectorRegistry

from schemas import points
from sightline.config import Config
from sightline.reading import ConfigError
from sightline.stages import AnyStage, stage_class, stage_settings
from sightline.weights import chosen_device, model_set, with_weights
from sightline.wiring import Parts
from stores.index import CollectionSpec
from streams.metrics import Metrics
from streams.plan import Plan, StageShape, check
from streams.settings import WorkerSettings
from streams.worker import Worker


def plan_classes(config: Config) -> dict[str, type[Any]]:
    """The class of every stage of the plan. Raises ConfigError with all that are not there, PlanError."""
    errors: list[str] = []
    classes: dict[str, type[Any]] = {}
    for name in Plan(config.segments).stages:
        try:
            classes[name] = stage_class(name, config.stages.get(name, {}))
        except ValueError as error:
            errors.append(str(error))
    unused = sorted(set(config.stages) - set(Plan(config.segments).stages))
    errors += [f"stages.{name}: no segment of the plan has this stage" for name in unused]
    if errors:
        raise ConfigError(errors)
    check(Plan(config.segments), cast(Mapping[str, StageShape], classes))
    return classes


def build_stages(config: Config, names: Sequence[str], classes: Mapping[str, type[Any]]) -> list[AnyStage]:
    """The stages `names`, built. Raises ConfigError with every wrong setting of every stage of the plan."""
    errors: list[str] = []
    settings = {
        name: stage_settings(name, kind, {**_defaults(config, name), **with_weights(config, name)}, errors)
        for name, kind in classes.items()
    }
    if errors:
        raise ConfigError(errors)
    return [classes[name](settings[name]) for name in names]


def _defaults(config: Config, stage: str) -> dict[str, Any]:
    """What a stage cannot know alone: which later stages there are."""
    if stage != "gate":
        return {}
    from processors.gate import GateSettings

    return {"stages": [name for name in GateSettings().stages if name in Plan(config.segments).stages]}


def worker_settings(config: Config) -> WorkerSettings:
    """`[worker]` with what follows from the rest: device and model set."""
    if "embed" not in Plan(config.segments).stages:
        return config.worker
    device = chosen_device(config.worker.device)
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
    classes = plan_classes(config)
    settings = worker_settings(config)
    return Worker(
        transport=parts.transport,
        plan=plan,
        segment=segment,
        stages=build_stages(config, plan.segments[segment], classes),
        plan_stages=cast(Mapping[str, StageShape], classes),
        index=parts.index,
        blobs=parts.blobs,
        settings=settings,
        metrics=Metrics(registry or CollectorRegistry()),
        collections=collections(config, settings),
    )
