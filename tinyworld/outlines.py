"""The outlines of the six shapes, and the visible share of each thing behind nearer ones."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

SHAPES: tuple[str, ...] = ("circle", "square", "triangle", "star", "cross", "ring")
"""Six outlines that are distinct at 14 pixels and with 30 % hidden; things stand upright, slightly tilted."""

Points = npt.NDArray[np.float64]
SUBPIXEL_BITS = 4


class Placed(Protocol):
    """What `visible_shares` needs of a thing."""

    @property
    def shape(self) -> str: ...
    @property
    def x(self) -> float: ...
    @property
    def y(self) -> float: ...
    @property
    def size(self) -> float: ...
    @property
    def angle(self) -> float: ...
    @property
    def depth(self) -> float: ...


@cache
def _unit(shape: str) -> tuple[Points, ...]:
    """The shape's polygons around its center; a second polygon is a hole."""
    turn = np.linspace(0.0, 2.0 * np.pi, 48, endpoint=False)
    round_ = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    if shape == "circle":
        return (round_,)
    if shape == "ring":
        return round_, round_ * 0.52
    if shape == "square":
        return (np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=float),)
    if shape == "triangle":
        return (np.array([[0, -1], [1.12, 0.95], [-1.12, 0.95]], dtype=float),)
    if shape == "star":
        spikes = np.arange(10) * np.pi / 5 - np.pi / 2
        radius = np.where(np.arange(10) % 2 == 0, 1.0, 0.42)[:, None]
        return (np.stack([np.cos(spikes), np.sin(spikes)], axis=1) * radius,)
    if shape == "cross":
        arm = 0.33
        corners = [(-arm, -1), (arm, -1), (arm, -arm), (1, -arm), (1, arm), (arm, arm)]
        corners += [(arm, 1), (-arm, 1), (-arm, arm), (-1, arm), (-1, -arm), (-arm, -arm)]
        return (np.array(corners, dtype=float),)
    raise ValueError(f"unknown shape {shape!r}; choose from {', '.join(SHAPES)}")


def outline(shape: str, *, angle: float, height: float) -> tuple[Points, ...]:
    """The shape's centered polygons [k, 2], tilted by `angle` degrees and `height` tall; a second one is a hole.

    Raises ValueError for an unknown shape.
    """
    polygons = _unit(shape)
    radians = np.deg2rad(angle)
    turn = np.array([[np.cos(radians), np.sin(radians)], [-np.sin(radians), np.cos(radians)]])
    turned = [points @ turn for points in polygons]
    low, high = turned[0].min(axis=0), turned[0].max(axis=0)
    return tuple((points - (low + high) / 2) * (height / (high[1] - low[1])) for points in turned)


def fill(
    canvas: npt.NDArray[np.uint8], polygons: Sequence[Points], value: int = 255, *, line: int = cv2.LINE_8
) -> None:
    """Fill the polygons, except for holes, on `canvas` [H, W]; coordinates in pixels."""
    fixed: list[Any] = [np.round((points - 0.5) * 2**SUBPIXEL_BITS).astype(np.int32) for points in polygons]
    cv2.fillPoly(canvas, fixed, (value,), lineType=line, shift=SUBPIXEL_BITS)


def visible_shares(things: Sequence[Placed], *, width: int = 160, height: int = 120) -> npt.NDArray[np.float64]:
    """The share of each thing that no nearer thing hides, [n], 0..1, measured on a grid of width x height."""
    masks = []
    for thing in things:
        canvas = np.zeros((height, width), np.uint8)
        center = np.array([thing.x * width, thing.y * height])
        fill(
            canvas, [points + center for points in outline(thing.shape, angle=thing.angle, height=thing.size * height)]
        )
        masks.append(canvas > 0)
    shares = np.ones(len(things))
    for index, thing in enumerate(things):
        nearer = [mask for other, mask in zip(things, masks, strict=True) if other.depth > thing.depth]
        if nearer:
            hidden = np.logical_or.reduce(nearer) & masks[index]
            shares[index] = 1.0 - hidden.sum() / max(int(masks[index].sum()), 1)
    return shares
