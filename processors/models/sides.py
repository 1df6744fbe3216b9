"""How large a picture the models of a plan look at, told from their folders without loading them.

The decode stage then need not decode more than they see (`[stages.decode] max_side`), the same in every segment of a
plan and whatever segment decodes.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from processors.models.card import Fit

WHOLE = 0
"""The picture at full size: nobody could say how much of it is enough."""
PUBLISHED_YOLO_SIDE = 640
"""What ultralytics trained its own checkpoints at, all but a few that say so in their name."""


class _Said(msgspec.Struct):
    image_size: int = 0
    vision_config: dict[str, object] = {}


def longest_side(weights: str | Path, fit: Fit = "pad") -> int:
    """The longer side in pixels that a model is given; `WHOLE` when its folder does not say, or when it crops, since
    then the shorter side decides. `weights`: a folder of transformers' or of a YOLO, or its `.pt`."""
    path = Path(weights).expanduser()
    folder = path.parent if path.suffix == ".pt" else path
    if fit == "crop":
        return WHOLE
    for name in ("config.json", "sightline.json"):
        if (folder / name).is_file() and (side := _side(folder / name)):
            return side
    checkpoints = [path] if path.suffix == ".pt" else sorted(folder.glob("*.pt"))
    if [found.stem for found in checkpoints] in ([f"yolov9{size}"] for size in "smce"):
        return PUBLISHED_YOLO_SIDE
    return WHOLE


def plan_side(sides: Iterable[int]) -> int:
    """`max_side` of a plan whose models look at `sides`: enough for each, `WHOLE` if one could not say."""
    known = list(sides)
    return max(known, default=WHOLE) if WHOLE not in known else WHOLE


def _side(path: Path) -> int:
    try:
        said = msgspec.json.decode(path.read_bytes(), type=_Said)
    except msgspec.DecodeError:
        return WHOLE  # loading will say what is wrong with it
    seen = said.vision_config.get("image_size")
    return seen if isinstance(seen, int) else said.image_size
