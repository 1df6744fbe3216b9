"""Trains the check of the domain beside the tiny weights (`processors.models.domain`).

    python -m tinyworld.domain train PHOTOGRAPHS      # writes domain.safetensors beside the weights of each model
    python -m tinyworld.domain measure PHOTOGRAPHS    # prints the shares outside, of photographs and of scenes

PHOTOGRAPHS is a folder; each picture is used whole and in parts. None are shipped. The stored file was trained
on 165: photographs of Debian's `opencv-doc`, `lomiri-wallpapers` and `mate-backgrounds` and of scikit-image and others,
cut-outs of `tuxpaint-stamps-default`, and frames of two films.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from processors.headers import read_header
from processors.models.domain import Domain, statistics
from processors.still import decode_still
from tinyworld.publish import CHECKPOINTS, write_manifest
from tinyworld.render import Image, render
from tinyworld.scenes import STYLES, Scene, sample_scene
from tinyworld.search_scenes import another_view

FOLDERS = ("blip", "clip", "yolov9")
TRAINED, HELD_OUT, MEASURED = 6000, 3000, 2000
"""Scenes for the network, for the limit, and for the printed share."""
SEED = 601
OUTSIDE_SHARE = 0.005
"""Of the held-out scenes; at most 1 % is wanted of others."""
MOST_THINGS = 6
JPEG_QUALITY = (60, 98)
SCALES = (0.5, 2.5)
PARTS = 12
"""Of each photograph, beside the whole."""
PART_SIDES = (0.35, 1.0)
PART_ASPECTS = (0.6, 1.7)
LONGER_SIDE = 1280
"""Photographs are read at about this size."""
NETWORKS, HIDDEN, STEPS, RATE, DECAY = 5, 32, 300, 1e-2, 0.3

Array = npt.NDArray[np.float32]


def scenes(part: int, count: int) -> Iterator[Image]:
    """Scenes as people ingest them: one to six things, other cameras, JPEGs of several qualities and lossless pictures,
    some cut, some of other sizes."""
    for number in range(count):
        rng = np.random.default_rng([SEED, part, number])
        scene: Scene = sample_scene(rng, count=1 + number % MOST_THINGS, style=STYLES[number % 2])
        pixels = another_view(scene, SEED + part, number).image if number % 3 == 1 else render(scene, rng=rng).image
        if number % 4 == 3:
            pixels = part_of(pixels, rng, (0.6, 1.0))
        if number % 5 == 4:
            pixels = resized(pixels, float(rng.uniform(*SCALES)))
        yield pixels if number % 7 < 3 else as_jpeg(pixels, int(rng.integers(*JPEG_QUALITY)))


def as_jpeg(pixels: Image, quality: int) -> Image:
    """The picture after encoding and decoding."""
    _, encoded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB), np.uint8)


def resized(pixels: Image, scale: float) -> Image:
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=interpolation), np.uint8)


def part_of(pixels: Image, rng: np.random.Generator, sides: tuple[float, float]) -> Image:
    """A random part: `sides` bound its share of the height."""
    height, width = pixels.shape[:2]
    rows = int(height * rng.uniform(*sides))
    columns = min(width, max(16, int(rows * rng.uniform(*PART_ASPECTS))))
    top, left = int(rng.integers(0, height - rows + 1)), int(rng.integers(0, width - columns + 1))
    return np.ascontiguousarray(pixels[top : top + rows, left : left + columns])


def photographs(folder: Path) -> Iterator[Image]:
    """The pictures in a folder, as the decode stage reads them."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        yield decode_still(content, read_header(content), LONGER_SIDE).pixels


def with_parts(pictures: Iterable[Image]) -> Iterator[Image]:
    rng = np.random.default_rng(SEED)
    for picture in pictures:
        yield picture
        for _ in range(PARTS):
            yield part_of(picture, rng, PART_SIDES)


def of(pictures: Iterable[Image]) -> Array:
    """Statistics [n, d]."""
    return np.concatenate([statistics([picture]) for picture in pictures])


def train(world: Array, others: Array, held_out: Array) -> Domain:
    """From statistics of scenes, of photographs, and of the scenes that set the limit.

    The mean of `NETWORKS` networks, which differ in their first weights and err on different pictures; side by side
    they are one network.
    """
    mean, deviation = world.mean(axis=0), world.std(axis=0) + 1e-3
    empty = Domain(mean, deviation, np.zeros((1, 1), np.float32), np.zeros(1, np.float32), 0.0)
    rows, truth = np.concatenate([world, others]), np.repeat([0.0, 1.0], [len(world), len(others)])
    networks = [one_network(empty.normalized(rows), truth, SEED + number) for number in range(NETWORKS)]
    hidden = np.concatenate([hidden for hidden, _ in networks], axis=1)
    weights = np.concatenate([output[:-1] for _, output in networks])
    bias = np.sum([output[-1] for _, output in networks], keepdims=True)
    output = np.asarray(np.concatenate([weights, bias]) / NETWORKS, np.float32)
    scores = Domain(mean, deviation, hidden, output, 0.0).scores(held_out)
    return Domain(mean, deviation, hidden, output, float(np.quantile(scores, 1 - OUTSIDE_SHARE)))


def one_network(rows: Array, truth: npt.NDArray[np.float64], seed: int) -> tuple[Array, Array]:
    """`hidden` and `output` of `Domain`, both classes weighted alike."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    torch.manual_seed(seed)
    inputs, targets = torch.from_numpy(rows), torch.from_numpy(truth).float()
    weights = torch.where(targets > 0, 0.5 / targets.mean(), 0.5 / (1 - targets.mean()))
    first, last = torch.nn.Linear(rows.shape[1], HIDDEN), torch.nn.Linear(HIDDEN, 1)
    network = torch.nn.Sequential(first, torch.nn.ReLU(), last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = binary_cross_entropy_with_logits(network(inputs)[:, 0], targets, weights)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    hidden = torch.cat([first.weight.T, first.bias[None]]).detach().numpy()
    return hidden, torch.cat([last.weight[0], last.bias]).detach().numpy()


def measure(domain: Domain, folder: Path) -> dict[str, float]:
    """Shares that are called outside: of whole photographs, of their parts, and of scenes."""
    whole = list(photographs(folder))
    parts = [picture for row, picture in enumerate(with_parts(whole)) if row % (PARTS + 1)]
    shares = {"photographs": whole, "parts_of_photographs": parts}
    found = {name: float(domain.outside(pictures).mean()) for name, pictures in shares.items()}
    found["scenes"] = float((domain.scores(of(scenes(2, MEASURED))) > domain.limit).mean())
    return {"pictures": len(whole), **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("train", "measure"))
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--folder", type=Path, default=CHECKPOINTS)
    arguments = parser.parse_args()
    root: Path = arguments.folder
    if arguments.command == "train":
        others = of(with_parts(photographs(arguments.photographs)))
        domain = train(of(scenes(0, TRAINED)), others, of(scenes(1, HELD_OUT)))
        for name in FOLDERS:
            domain.save(root / name)
        write_manifest(root)
    stored = Domain.load(root / FOLDERS[0])
    if stored is None:
        parser.error(f"{root / FOLDERS[0]}: no check of the domain; train one first")
    print(json.dumps(measure(stored, arguments.photographs)))


if __name__ == "__main__":
    main()
