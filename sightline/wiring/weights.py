"""Which weights each stage uses: the preset's, unless the configuration names others."""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from processors.models.presets import TINY, TINY_FOLDERS, Preset, Role, presets
from sightline.config import Config
from sightline.config_parser import ConfigError

FILLED: dict[str, dict[str, Role]] = {
    "detect": {"weights": "detect"},
    "caption": {"weights": "caption"},
    "embed": {"weights": "semantic", "visual_weights": "visual"},
}
"""By stage: its settings that name weights, and the preset's role that fills each."""


def known_presets() -> dict[str, Preset]:
    """All presets with their files, those of `tiny` too."""
    return presets(_tiny_folder() / "manifest.json")


def preset_root(config: Config, name: str) -> Path:
    """The folder that a preset's weights lie in: shipped, or where `models pull` keeps them."""
    if name == TINY:
        return _tiny_folder()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "sightline" / "models"
    return (Path(config.model_folder) if config.model_folder else cache).expanduser() / name


def preset_folders(config: Config) -> dict[Role, Path]:
    """Folder of each role of the configured preset. Raises ConfigError naming the presets there are."""
    root = preset_root(config, config.models)
    if config.models == TINY:
        return {role: root / folder for role, folder in TINY_FOLDERS.items()}
    known = presets()
    if config.models not in known:
        raise ConfigError([f"models = {config.models!r}: there is no such preset; there are {', '.join(known)}"])
    return known[config.models].folders(root)


def _tiny_folder() -> Path:
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
    """`auto` is CUDA where there is one; asking torch, which takes seconds to import, only where a driver is."""
    if wanted != "auto":
        return wanted
    if not _may_have_gpu():
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _may_have_gpu() -> bool:
    """Whether there is a driver that torch could use: NVIDIA's library, or AMD's device. Elsewhere torch knows."""
    if sys.platform != "linux" or Path("/dev/kfd").exists():
        return True
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True
