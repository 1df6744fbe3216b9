"""How large a picture the models of a plan take, read from their folders without loading them.

The decode stage then decodes no more than that (`[stages.decode] max_side`), equally in every segment of a plan,
whichever segment decodes.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from processors.models.model_card import CARD_FILE, Fit

FULL_SIZE = 0
"""The picture at full size, where no smaller size is known to be enough."""
PUBLISHED_YOLO_SIDE = 640
"""What ultralytics trained its own checkpoints at, all but a few that say so in their name."""


class _SizeFields(msgspec.Struct):
    """The fields of `config.json` and `sightline.json` that state an input size."""

    image_size: int = 0
    vision_config: dict[str, object] = {}


def longest_side(weights: str | Path, fit: Fit = "pad") -> int:
    """The longer side in pixels of a model's input.

    `FULL_SIZE` when the folder does not state it, or for a model that crops, since then the shorter side decides.
    `weights` is a folder of transformers' or of a YOLO, or its `.pt`.
    """
    path = Path(weights).expanduser()
    folder = path.parent if path.suffix == ".pt" else path
    if fit == "crop":
        return FULL_SIZE
    for name in ("config.json", CARD_FILE):
        if (folder / name).is_file() and (side := _stated_side(folder / name)):
            return side
    checkpoints = [path] if path.suffix == ".pt" else sorted(folder.glob("*.pt"))
    if [checkpoint.stem for checkpoint in checkpoints] in ([f"yolov9{size}"] for size in "smce"):
        return PUBLISHED_YOLO_SIDE
    return FULL_SIZE


def plan_side(sides: Iterable[int]) -> int:
    """`max_side` of a plan whose models take `sides`: enough for each, `FULL_SIZE` if one of them is unknown."""
    known = list(sides)
    return max(known, default=FULL_SIZE) if FULL_SIZE not in known else FULL_SIZE


def _stated_side(path: Path) -> int:
    try:
        stated = msgspec.json.decode(path.read_bytes(), type=_SizeFields)
    except msgspec.DecodeError:
        return FULL_SIZE  # loading the model will say what is wrong with the file
    vision_side = stated.vision_config.get("image_size")
    return vision_side if isinstance(vision_side, int) else stated.image_size
