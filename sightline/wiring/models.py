"""Loads single models, with the weights, device, precision and fit that the configuration names. Loading blocks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from search.models import Matcher, Pixels
from sightline.config import Config
from sightline.wiring.weights import EMBED, chosen_device, preset_folders, with_weights

if TYPE_CHECKING:
    from processors.models.blip import Blip
    from processors.models.clip import Clip
    from processors.models.vit import Vit
    from processors.models.yolo import Yolo


class _Loading(NamedTuple):
    table: dict[str, Any]
    """`[stages.STAGE]` with weights."""
    device: str
    precision: Any
    fit: Any

    @property
    def options(self) -> dict[str, Any]:
        return {"device": self.device, "precision": self.precision, "fit": self.fit}


def _loading(config: Config, stage: str) -> _Loading:
    table, device = with_weights(config, stage), chosen_device(config.worker.device)
    return _Loading(table, device, table.get("precision", "auto"), table.get("fit") or None)


def load_clip(config: Config) -> Clip:
    """Raises WrongWeights, as every function here."""
    from processors.models.clip import Clip

    loading = _loading(config, EMBED)
    return Clip.load(loading.table["weights"], **loading.options)


def load_vit(config: Config) -> Vit:
    from processors.models.vit import Vit

    loading = _loading(config, EMBED)
    return Vit.load(loading.table["visual_weights"], **loading.options)


def load_blip(config: Config) -> Blip:
    from processors.models.blip import Blip

    loading = _loading(config, "caption")
    return Blip.load(loading.table["weights"], **loading.options)


def load_yolo(config: Config) -> Yolo:
    from processors.models import checkpoint
    from processors.models.yolo import Yolo

    loading = _loading(config, "detect")
    precision = checkpoint.resolve_precision(loading.precision, loading.device)
    return Yolo.load(Path(loading.table["weights"]).expanduser(), device=loading.device, precision=precision)


def load_matcher(config: Config) -> Matcher | None:
    """The preset's matching head; None for a preset without one."""
    from processors.models.itm import Itm

    folder = preset_folders(config).get("matching")
    if folder is None or not folder.exists():
        return None
    return Itm.load(folder, device=chosen_device(config.worker.device))


def caption_pictures(config: Config, pictures: Sequence[Pixels], prompt: str = "") -> list[str | None]:
    """A caption for each picture, as the caption stage makes them; None outside the model's domain.

    `prompt` overrides the configured one.
    """
    table = with_weights(config, "caption")
    prompts = [prompt or table.get("prompt", "")] * len(pictures)
    return list(load_blip(config).caption_in_domain(pictures, prompts, most_tokens=table.get("most_tokens", 48)))
