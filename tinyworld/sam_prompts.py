"""The inputs of a step of SAM's training: pictures, random prompts on them, and the correct masks."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import cv2
import numpy as np
import numpy.typing as npt
import torch

from tinyworld.rendered_set import RenderedSet

Numbers = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class PromptSpec:
    """The size of a step: number of `pictures`, their longer side `image_size` in pixels, and the prompts per picture.

    Prompts are points on things, boxes around things, and points on the background. Masks are squares of `cells`.
    """

    pictures: int
    image_size: int
    cells: int
    points: int
    boxes: int
    empty_points: int


@dataclass(frozen=True)
class PromptBatch:
    """Pictures, prompts and correct masks of a step.

    `images` uint8 [n, 3, H, W]; `points` float32 [p, 2] and `boxes` float32 [b, 4] in their pixels. Of every prompt,
    points first: `pictures` [p + b], its picture; `targets` float32 [p + b, cells, cells], the share of each cell that
    the mask covers; `fine` bool [p + b, 2 cells, 2 cells], the finer mask for the IoU; `empty` bool [p + b], whether it
    is on the background.
    """

    images: torch.Tensor
    points: torch.Tensor
    boxes: torch.Tensor
    pictures: torch.Tensor
    targets: torch.Tensor
    fine: torch.Tensor
    empty: torch.Tensor

    def to(self, device: str) -> Self:
        """The same on a device."""
        moved = {field.name: getattr(self, field.name).to(device, non_blocking=True) for field in fields(self)}
        return type(self)(**moved)


@dataclass(frozen=True)
class _Prompt:
    picture: int
    position: npt.NDArray[np.float64]
    mask: Mask
    empty: bool = False


def sample_prompts(scenes: RenderedSet, rng: np.random.Generator, spec: PromptSpec) -> PromptBatch:
    """Random scenes, half of them mirrored, with random prompts."""
    images: list[npt.NDArray[np.uint8]] = []
    points: list[_Prompt] = []
    boxes: list[_Prompt] = []
    for picture in range(spec.pictures):
        image, on_points, on_boxes = _sample_picture(scenes, rng, spec, picture)
        images.append(image)
        points += on_points
        boxes += on_boxes
    prompts = [*points, *boxes]
    scale = spec.image_size / scenes.images.shape[2]
    return PromptBatch(
        torch.from_numpy(np.stack(images)),
        torch.tensor(np.array([prompt.position for prompt in points], np.float32).reshape(-1, 2) * scale),
        torch.tensor(np.array([prompt.position for prompt in boxes], np.float32).reshape(-1, 4) * scale),
        torch.tensor([prompt.picture for prompt in prompts]),
        torch.from_numpy(np.stack([_covered(prompt.mask, spec.cells) for prompt in prompts])),
        torch.from_numpy(np.stack([_covered(prompt.mask, 2 * spec.cells) > 0.5 for prompt in prompts])),
        torch.tensor([prompt.empty for prompt in prompts]),
    )


def _sample_picture(
    scenes: RenderedSet, rng: np.random.Generator, spec: PromptSpec, picture: int
) -> tuple[npt.NDArray[np.uint8], list[_Prompt], list[_Prompt]]:
    """A picture [3, H, W], its points and its boxes."""
    number = int(rng.integers(len(scenes)))
    image, instances = np.array(scenes.images[number]), np.array(scenes.instances[number])
    things = scenes.things_of(number)
    if rng.random() < 0.5:
        image, instances = image[:, ::-1], instances[:, ::-1]
    chosen = rng.choice(things, spec.points + spec.boxes) if len(things) else np.empty(0, np.intp)
    masks = [instances == thing + 1 for thing in chosen]
    nothing = np.zeros_like(instances, np.bool_)
    points = [_Prompt(picture, _point_on(mask, rng), mask) for mask in masks[: spec.points]]
    points += [_Prompt(picture, _point_on(instances == 0, rng), nothing, empty=True) for _ in range(spec.empty_points)]
    boxes = [_Prompt(picture, _jittered_box(mask, rng), mask) for mask in masks[spec.points :]]
    return _resized(image, spec.image_size), points, boxes


def _resized(image: npt.NDArray[np.uint8], longest: int) -> npt.NDArray[np.uint8]:
    """The picture [3, H, W] at the encoder's size; pixels stay 0–255: the model subtracts the mean and pads."""
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
    """A random pixel of `mask`, xy."""
    row, column = np.unravel_index(rng.choice(np.flatnonzero(mask)), mask.shape)
    return np.array([column, row], np.float64)


def _jittered_box(mask: Mask, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """The box around `mask`, with edges off by a few percent, as from a detector."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)
    sides = np.tile(box[2:] - box[:2], 2)
    return box + rng.normal(0.0, 0.03, 4) * sides
