"""Builds a worker for one segment of the plan: its stages, its settings, the collections it writes."""

from __future__ import annotations

from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry

from processors.models import torch_threads
from schemas import points
from sightline.config import Config
from sightline.wiring.parts import Parts
from sightline.wiring.stage_loader import checked_stages
from sightline.wiring.storage import storage_spec
from sightline.wiring.weights import EMBED, WEIGHT_ROLES, chosen_device, model_set, with_weights
from stores.index import CollectionSpec
from streams.backends import Backends
from streams.metrics import Metrics
from streams.plan import Plan
from streams.worker.instruments import Instruments, worker_instruments
from streams.worker.segment import SegmentSpec
from streams.worker.settings import WorkerSettings
from streams.worker.worker import Worker


def worker_settings(config: Config) -> WorkerSettings:
    """`[worker]` with what follows from the rest: device, model set, time zone, and whether records carry pictures."""
    with_models = [name for name in Plan(config.segments).stages if name in WEIGHT_ROLES]
    device = chosen_device(config.worker.device) if with_models else "cpu"
    slug = model_set(config, device) if EMBED in with_models else config.worker.model_set
    timezone = config.worker.timezone or config.timezone
    return msgspec.structs.replace(
        config.worker,
        device=device,
        model_set=slug,
        timezone=timezone,
        inline_limit_bytes=config.inline_limit_bytes,
    )


def frames_collection(config: Config) -> str:
    """The collection that holds the frames of the configured model set."""
    return points.collection(points.FRAMES, worker_settings(config).model_set)


def collections(config: Config, settings: WorkerSettings) -> dict[str, CollectionSpec]:
    """The collections of the model set, by alias; none for a plan that embeds nothing."""
    if not settings.model_set:
        return {}
    embed = with_weights(config, EMBED)
    sizes = {points.SEMANTIC: _dimension(embed["weights"]), points.VISUAL: _dimension(embed["visual_weights"])}
    fields = {points.FRAMES: points.FRAME_FIELDS, points.REGIONS: points.REGION_FIELDS}
    return {
        alias: CollectionSpec(name=points.collection(alias, settings.model_set), vectors=sizes, payload=dict(payload))
        for alias, payload in fields.items()
    }


def _dimension(folder: str) -> int:
    """The size of a model's vectors, read from its `config.json`."""
    shape = msgspec.json.decode((Path(folder).expanduser() / "config.json").read_bytes())
    return int(shape.get("projection_dim") or shape.get("hidden_size") or shape["vision_config"]["hidden_size"])


def build_worker(
    parts: Parts, segment: int, registry: CollectorRegistry | None = None, instruments: Instruments | None = None
) -> Worker:
    """A worker that is ready to run, with its metrics on `registry` or `instruments` that are in use already.

    Raises ConfigError, PlanError, WrongWeights.
    """
    config, plan = parts.config, parts.plan
    torch_threads.set_worker_count(config.workers)
    stages, settings = checked_stages(config), worker_settings(config)
    spec = SegmentSpec(
        plan=plan,
        number=segment,
        stages=stages.build(plan.segments[segment]),
        plan_stages=stages.shapes,
        collections=collections(config, settings),
        storage=storage_spec(config),
    )
    backends = Backends(parts.transport, parts.index, parts.blobs)
    own = instruments or worker_instruments(settings, Metrics(registry or CollectorRegistry()))
    return Worker(backends, spec, settings, own)
