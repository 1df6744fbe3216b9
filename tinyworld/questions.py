"""What SAM is asked in a step of its training: pictures with prompts drawn on them, and the masks that are right."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import cv2
import numpy as np
import numpy.typing as npt
import torch

from tinyworld.rendered import RenderedSet

Numbers = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Asked:
    """How a step asks: so many `pictures`, their longer side `image_size` pixels; of each so many points on things,
    boxes around things, and points on nothing; masks are squares of `cells`."""

    pictures: int
    image_size: int
    cells: int
    points: int
    boxes: int
    empty_points: int


@dataclass(frozen=True)
class Questions:
    """Of a step: `images` uint8 [n, 3, H, W]; prompts in pixels of them, points float32 [p, 2] and boxes float32
    [b, 4]; and of every prompt, points first, its picture [p + b], its mask as the share of each cell that is covered
    float32 [p + b, cells, cells], finer by which the IoU is judged bool [p + b, 2 cells, 2 cells], and whether it is
    on nothing, bool [p + b]."""

    images: torch.Tensor
    points: torch.Tensor
    boxes: torch.Tensor
    pictures: torch.Tensor
    targets: torch.Tensor
    fine: torch.Tensor
    empty: torch.Tensor

    def to(self, device: str) -> Self:
        """The same on a device."""
        there = {field.name: getattr(self, field.name).to(device, non_blocking=True) for field in fields(self)}
        return type(self)(**there)


@dataclass(frozen=True)
class _Prompt:
    picture: int
    place: npt.NDArray[np.float64]
    mask: Mask
    empty: bool = False


def questions(scenes: RenderedSet, rng: np.random.Generator, asked: Asked) -> Questions:
    """Scenes at random, half of the time mirrored, with prompts drawn on them."""
    images: list[npt.NDArray[np.uint8]] = []
    points: list[_Prompt] = []
    boxes: list[_Prompt] = []
    for picture in range(asked.pictures):
        image, on_points, on_boxes = _question(scenes, rng, asked, picture)
        images.append(image)
        points += on_points
        boxes += on_boxes
    every = [*points, *boxes]
    scale = asked.image_size / scenes.images.shape[2]
    return Questions(
        torch.from_numpy(np.stack(images)),
        torch.tensor(np.array([one.place for one in points], np.float32).reshape(-1, 2) * scale),
        torch.tensor(np.array([one.place for one in boxes], np.float32).reshape(-1, 4) * scale),
        torch.tensor([one.picture for one in every]),
        torch.from_numpy(np.stack([_covered(one.mask, asked.cells) for one in every])),
        torch.from_numpy(np.stack([_covered(one.mask, 2 * asked.cells) > 0.5 for one in every])),
        torch.tensor([one.empty for one in every]),
    )


def _question(
    scenes: RenderedSet, rng: np.random.Generator, asked: Asked, picture: int
) -> tuple[npt.NDArray[np.uint8], list[_Prompt], list[_Prompt]]:
    """A picture [3, H, W], the points on it and the boxes."""
    number = int(rng.integers(len(scenes)))
    image, instances = np.array(scenes.images[number]), np.array(scenes.instances[number])
    things = scenes.things_of(number)
    if rng.random() < 0.5:
        image, instances = image[:, ::-1], instances[:, ::-1]
    chosen = rng.choice(things, asked.points + asked.boxes) if len(things) else np.empty(0, np.intp)
    masks = [instances == thing + 1 for thing in chosen]
    nothing = np.zeros_like(instances, np.bool_)
    points = [_Prompt(picture, _point_on(mask, rng), mask) for mask in masks[: asked.points]]
    points += [_Prompt(picture, _point_on(instances == 0, rng), nothing, empty=True) for _ in range(asked.empty_points)]
    boxes = [_Prompt(picture, _jittered_box(mask, rng), mask) for mask in masks[asked.points :]]
    return _resized(image, asked.image_size), points, boxes


def _resized(image: npt.NDArray[np.uint8], longest: int) -> npt.NDArray[np.uint8]:
    """The picture [3, H, W] at the encoder's size; its pixels stay 0–255, the model subtracts the mean and pads."""
    height = round(longest * image.shape[0] / image.shape[1])
    small = cv2.resize(image, (longest, height), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(np.asarray(small, np.uint8).transpose(2, 0, 1))


def _covered(mask: Mask, cells: int) -> Numbers:
    """The share that `mask` covers of each cell of a square grid."""
    height = round(cells * mask.shape[0] / mask.shape[1])
    grid = np.zeros((cells, cells), np.float32)
    grid[:height] = cv2.resize(mask.astype(np.float32), (cells, height), interpolation=cv2.INTER_AREA)
    return grid


def _point_on(mask: Mask, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """A pixel of `mask`, xy."""
    row, column = np.unravel_index(rng.choice(np.flatnonzero(mask)), mask.shape)
    return np.array([column, row], np.float64)


def _jittered_box(mask: Mask, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """The box around `mask`, its edges off by a few percent as a detector's are."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)
    sides = np.tile(box[2:] - box[:2], 2)
    return box + rng.normal(0.0, 0.03, 4) * sides
