"""Fits the domain of every checkpoint (`processors.models.domain`): pictures unlike tinyworld's are told apart.

    python -m tinyworld.domain [--photographs FOLDER]

Writes `domain.safetensors` beside the weights of `clip` and `blip`, and prints, for scenes that were neither
fitted nor held out, the share that is called outside; with a folder of photographs also the share of these.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: ten times slower on shared cores otherwise

import cv2
import numpy as np
import numpy.typing as npt

from processors.headers import read_header
from processors.models.blip import Blip
from processors.models.clip import Clip
from processors.models.domain import Domain, patch_means
from processors.still import decode_still
from tinyworld.publish import CHECKPOINTS, write_manifest
from tinyworld.render import Image, render
from tinyworld.scenes import STYLES, Scene, sample_scene
from tinyworld.search_scenes import another_view

FITTED, HELD_OUT, CHECKED = 3000, 1500, 1000
"""Scenes for the mean and the covariance, for the limit, and for the printed share."""
SEED = 601
OUTSIDE_SHARE = 0.004
"""Of the held-out scenes: the share among others is a little higher, and at most 1 % is wanted."""
MOST_THINGS = 6
JPEG_QUALITY = (60, 98)
BATCH_PICTURES = 32
MOST_PIXELS_WIDE = 1280
"""Photographs are read at about this size: no model takes more."""

Features = Callable[[Sequence[Image]], npt.NDArray[np.float32]]


def scenes(part: int, count: int) -> Iterator[Image]:
    """Scenes as people ingest them: one to six things, also from another camera, as JPEGs of several qualities."""
    for number in range(count):
        rng = np.random.default_rng([SEED, part, number])
        scene: Scene = sample_scene(rng, count=1 + number % MOST_THINGS, style=STYLES[number % 2])
        pixels = another_view(scene, SEED + part, number).image if number % 3 == 1 else render(scene, rng=rng).image
        yield as_jpeg(pixels, int(rng.integers(*JPEG_QUALITY)))


def as_jpeg(pixels: Image, quality: int) -> Image:
    """The picture after encoding and decoding."""
    _, encoded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB), np.uint8)


def tower_features(model: Clip | Blip) -> Features:
    """Of a model's vision tower."""
    import torch

    def features(pictures: Sequence[Image]) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            pixels = model.preprocess(pictures)
            return patch_means(model._model.vision_model(pixel_values=pixels, output_hidden_states=True).hidden_states)

    return features


def in_batches(features: Features, pictures: Iterator[Image]) -> npt.NDArray[np.float32]:
    rows, batch = [], list[Image]()
    for picture in pictures:
        batch.append(picture)
        if len(batch) == BATCH_PICTURES:
            rows.append(features(batch))
            batch = []
    return np.concatenate([*rows, features(batch)] if batch else rows)


def photographs(folder: Path) -> Iterator[Image]:
    """The pictures in a folder, as the decode stage reads them."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        yield decode_still(content, read_header(content), MOST_PIXELS_WIDE).pixels


def fit(name: str, folder: Path, features: Features, photos: Path | None) -> dict[str, Any]:
    """Fit and write one domain; the shares that are called outside."""
    domain = Domain.fit(
        in_batches(features, scenes(0, FITTED)), in_batches(features, scenes(1, HELD_OUT)), OUTSIDE_SHARE
    )
    domain.save(folder)
    shares: dict[str, Any] = {"model": name}
    shares["scenes_outside"] = float(domain.outside(in_batches(features, scenes(2, CHECKED))).mean())
    if photos:
        shares["photographs_outside"] = float(domain.outside(in_batches(features, photographs(photos))).mean())
    return shares


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=CHECKPOINTS)
    parser.add_argument("--photographs", type=Path)
    arguments = parser.parse_args()
    root = arguments.folder
    models: dict[str, Features] = {
        "clip": tower_features(Clip.load(root / "clip")),
        "blip": tower_features(Blip.load(root / "blip")),
    }
    for name, features in models.items():
        print(json.dumps(fit(name, root / name, features, arguments.photographs)), flush=True)
    write_manifest(root)


if __name__ == "__main__":
    main()
