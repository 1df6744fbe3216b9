"""Which weights each stage uses: the preset's, unless the configuration names others."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightline.config import Config
from sightline.reading import ConfigError

FILLED = {
    "detect": {"weights": "detect"},
    "caption": {"weights": "caption"},
    "embed": {"weights": "semantic", "visual_weights": "visual"},
}
"""By stage: its settings that name weights, and the preset's role that fills each."""
TINY = {
    "detect": "yolov9",
    "caption": "blip",
    "matching": "blip_itm",
    "semantic": "clip",
    "visual": "vit",
    "segment": "sam",
}
"""Folders of the shipped checkpoints, by role."""


def preset_folders(config: Config) -> dict[str, Path]:
    """Folder of each role of the configured preset. Raises ConfigError naming the presets there are."""
    if config.models == "tiny":
        return {role: tiny_folder() / name for role, name in TINY.items()}
    raise ConfigError([f"models = {config.models!r}: use tiny"])


def tiny_folder() -> Path:
    """The shipped checkpoints; found without importing `tinyworld`, which no worker needs."""
    spec = importlib.util.find_spec("tinyworld")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(["models = 'tiny': the shipped checkpoints are not installed"])
    return Path(spec.submodule_search_locations[0]) / "checkpoints"


def with_weights(config: Config, stage: str) -> dict[str, Any]:
    """`[stages.STAGE]` with the preset's folders where the table names none."""
    table, wanted = dict(config.stages.get(stage, {})), FILLED.get(stage, {})
    if any(not table.get(key) for key in wanted):
        folders = preset_folders(config)
        table |= {key: str(folders[role]) for key, role in wanted.items() if not table.get(key)}
    return table


def model_set(config: Config, embed: Mapping[str, Any], device: str) -> str:
    """A slug of everything that decides the vectors: both models' revisions, fit and precision (`tiny-1a2b3c4d`)."""
    from processors.models import loading
    from processors.models.card import read_card

    parts: list[str] = [loading.exact(embed.get("precision", "auto"), device)]
    for key in FILLED["embed"]:
        folder = loading.existing(embed[key], key)
        card = read_card(folder)
        parts.append(loading.revision(folder, embed.get("fit") or (card.fit if card else "pad")))
    name = re.sub(r"[^a-z0-9-]+", "-", config.models.lower()).strip("-") or "own"
    return f"{name[:20]}-{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:8]}"


def chosen_device(wanted: str) -> str:
    """`auto` is CUDA where there is one; asking that imports torch."""
    if wanted != "auto":
        return wanted
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
