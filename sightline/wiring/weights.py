"""The weights of each stage: the preset's, unless the configuration names others."""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import re
import sys
from pathlib import Path
from typing import Any

from processors.models.presets import TINY, TINY_FOLDERS, Preset, Role, presets
from sightline.config import Config
from sightline.config_parser import ConfigError
from streams.plan import Plan

EMBED = "embed"
"""The stage whose weights decide the model set; a search uses the same ones."""
DEVICE = re.compile(r"auto|cpu|cuda(?::(?P<number>\d+))?")
WEIGHT_ROLES: dict[str, dict[str, Role]] = {
    "detect": {"weights": "detect"},
    "caption": {"weights": "caption"},
    EMBED: {"weights": "semantic", "visual_weights": "visual"},
}
"""For each stage with a model: its settings that name weights, and the preset's role for each."""


def known_presets() -> dict[str, Preset]:
    """All presets with their files, `tiny` included."""
    return presets(_tiny_folder() / "manifest.json")


def preset_root(config: Config, name: str) -> Path:
    """The folder of a preset's weights: shipped, or where `models pull` puts them."""
    if name == TINY:
        return _tiny_folder()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "sightline" / "models"
    return (Path(config.model_folder) if config.model_folder else cache).expanduser() / name


def preset_folders(config: Config) -> dict[Role, Path]:
    """The folder of each role of the configured preset. Raises ConfigError, naming the known presets."""
    root = preset_root(config, config.models)
    if config.models == TINY:
        return {role: root / folder for role, folder in TINY_FOLDERS.items()}
    known = presets()
    if config.models not in known:
        raise ConfigError([f"models = {config.models!r}: unknown preset; use one of {', '.join(known)}"])
    return known[config.models].folders(root)


def _tiny_folder() -> Path:
    """The shipped checkpoints, without importing `tinyworld`, which no worker needs."""
    spec = importlib.util.find_spec("tinyworld")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(["models = 'tiny': the shipped checkpoints are missing; install sightline again"])
    return Path(spec.submodule_search_locations[0]) / "checkpoints"


def with_weights(config: Config, stage: str) -> dict[str, Any]:
    """`[stages.STAGE]`, with the preset's folders where the table names none."""
    table, roles = dict(config.stages.get(stage, {})), WEIGHT_ROLES.get(stage, {})
    if any(not table.get(key) for key in roles):
        folders = preset_folders(config)
        table |= {key: str(folders[role]) for key, role in roles.items() if not table.get(key)}
    return table


def missing_weights(config: Config) -> list[str]:
    """A line for each weights of the plan that are not on this machine. Raises ConfigError for an unknown preset."""
    missing = []
    for stage in Plan(config.segments).stages:
        table = with_weights(config, stage)
        for key, role in WEIGHT_ROLES.get(stage, {}).items():
            path = Path(table[key]).expanduser()
            if not _holds_weights(path, role):
                own = config.stages.get(stage, {}).get(key)
                remedy = "give the folder of your own" if own else f"run `sightline models pull {config.models}`"
                missing.append(f"stages.{stage}.{key}: no weights in {path}; {remedy}")
    return missing


def _holds_weights(path: Path, role: Role) -> bool:
    if role == "detect":
        return path.is_file() or len(list(path.glob("*.pt"))) == 1
    return (path / "config.json").is_file()


def model_set(config: Config, device: str) -> str:
    """A slug of all that decides the vectors: both models' revisions, fit and precision (`tiny-1a2b3c4d`)."""
    from processors.models import checkpoint
    from processors.models.model_card import read_card

    embed = with_weights(config, EMBED)
    parts: list[str] = [checkpoint.resolve_precision(embed.get("precision", "auto"), device)]
    for key in WEIGHT_ROLES[EMBED]:
        folder = checkpoint.checkpoint_folder(embed[key], key)
        card = read_card(folder)
        parts.append(checkpoint.revision(folder, embed.get("fit") or (card.fit if card else "pad")))
    name = re.sub(r"[^a-z0-9-]+", "-", config.models.lower()).strip("-") or "own"
    return f"{name[:20]}-{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:8]}"


def chosen_device(device: str) -> str:
    """`auto` is CUDA where there is one. Importing torch takes seconds, so it is asked only where there is a driver.

    Raises ConfigError for a device that is not there.
    """
    if device != "auto":
        check_device(device)
        return device
    if not _may_have_gpu():
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def check_device(device: str) -> None:
    """Raises ConfigError for an unknown device, and for a GPU that is not on this machine."""
    match = DEVICE.fullmatch(device)
    if match is None:
        raise ConfigError([f"worker.device = {device!r}: use auto, cpu, cuda or cuda:NUMBER"])
    if device in ("auto", "cpu"):
        return
    import torch

    if int(match["number"] or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        gpus = "1 GPU" if count == 1 else f"{count or 'no'} GPUs"
        raise ConfigError([f"worker.device = {device!r}: torch finds {gpus} on this machine; use auto or cpu"])


def _may_have_gpu() -> bool:
    """Whether Linux has a driver that torch could use, NVIDIA's library or AMD's device; True on other systems."""
    if sys.platform != "linux" or Path("/dev/kfd").exists():
        return True
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True
