"""The contents of the miniature world: colored shapes, their light and their background, sampled from a seed.

A scene is a description without pixels. Positions are fractions of the frame as the center camera sees it (x to the
right, y downwards, 0..1), sizes are fractions of the frame's height, angles are degrees clockwise. `tinyworld.render`
turns a scene into an image with exact truth.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np

from tinyworld.outlines import SHAPES, outline, visible_shares

__all__ = [
    "COLORS",
    "EVALUATION",
    "SHAPES",
    "STYLES",
    "Background",
    "Evaluation",
    "Light",
    "Scene",
    "Sign",
    "Style",
    "Thing",
    "sample_background",
    "sample_light",
    "sample_scene",
    "with_light",
]

Style = Literal["photo", "cartoon"]
STYLES: tuple[Style, Style] = ("photo", "cartoon")

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (214, 36, 36),
    "orange": (244, 132, 16),
    "yellow": (246, 222, 40),
    "green": (36, 158, 52),
    "cyan": (46, 206, 214),
    "blue": (36, 72, 214),
    "purple": (124, 40, 176),
    "pink": (250, 142, 196),
}
"""RGB of each color name under neutral light."""


@dataclass(frozen=True, slots=True)
class Thing:
    """A colored shape. `depth` 0 is far and 1 is near: nearer things hide farther ones."""

    color: str
    shape: str
    x: float
    y: float
    size: float
    angle: float = 0.0
    depth: float = 0.5


@dataclass(frozen=True, slots=True)
class Sign:
    """A black and white disc for moderation: `forbidden` has a cross, `harmless` a dot."""

    kind: Literal["forbidden", "harmless"]
    x: float
    y: float
    size: float


@dataclass(frozen=True, slots=True)
class Background:
    """Wall and floor: two muted RGB tones, kind and seed of a texture, and the height at which the floor begins."""

    wall: tuple[int, int, int]
    floor: tuple[int, int, int]
    texture: Literal["plain", "grain", "stripes", "bricks", "dots"]
    horizon: float
    seed: int


@dataclass(frozen=True, slots=True)
class Light:
    """Gain and tint per channel, a gradient over the frame, and the sensor's noise (standard deviation of 255)."""

    gain: float = 1.0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    slope: float = 0.0
    direction: float = 0.0
    noise: float = 3.0


@dataclass(frozen=True, slots=True)
class Scene:
    """A style, things, their background and their light."""

    style: Style
    things: tuple[Thing, ...]
    background: Background
    light: Light = field(default_factory=Light)
    signs: tuple[Sign, ...] = ()


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The fixed conditions of every figure, so that no figure can be reached with easier scenes."""

    width: int = 320
    height: int = 240
    smallest: float = 0.15
    largest: float = 0.40
    occluded: float = 0.30
    tilt: float = 20.0
    search_count: tuple[int, int] = (1, 4)
    detection_count: tuple[int, int] = (1, 6)


EVALUATION = Evaluation()

LEVEL, APART = 0.07, 0.13
"""Neighbors are level (centers within 7 % of the height) or clearly one above the other (13 %). People would
disagree on what to call a difference between the two, so no scene has one."""
ORDER_GAP = 0.05
"""Centers differ by at least this share of the width, so that "left to right" is one order."""


def sample_light(rng: np.random.Generator, *, style: Style = "photo") -> Light:
    """Light as for an indoor camera: from a quarter darker to slightly brighter, slightly tinted."""
    red, green, blue = rng.uniform(0.93, 1.07, 3)
    noise = rng.uniform(2.0, 8.0) if style == "photo" else rng.uniform(0.0, 2.5)
    return Light(
        gain=float(rng.uniform(0.75, 1.1)),
        tint=(float(red), float(green), float(blue)),
        slope=float(rng.uniform(0.0, 0.25)),
        direction=float(rng.uniform(0.0, 360.0)),
        noise=float(noise),
    )


def sample_background(rng: np.random.Generator) -> Background:
    """Muted tones from dark gray to light beige, never as saturated as a thing."""
    kinds: tuple[Literal["plain", "grain", "stripes", "bricks", "dots"], ...] = (
        "plain",
        "grain",
        "stripes",
        "bricks",
        "dots",
    )
    return Background(
        wall=_muted(rng),
        floor=_muted(rng),
        texture=kinds[int(rng.integers(len(kinds)))],
        horizon=float(rng.uniform(0.35, 1.0)),
        seed=int(rng.integers(2**31)),
    )


def sample_scene(
    rng: np.random.Generator,
    *,
    count: int | tuple[int, int] = (1, 4),
    style: Style | None = None,
    signs: int = 0,
) -> Scene:
    """A scene under the conditions of `EVALUATION`.

    It has `count` things (a range is inclusive, in equal shares), no two of the same color and shape, each entirely
    inside the frame and at most 30 % hidden by nearer ones.
    """
    low, high = (count, count) if isinstance(count, int) else count
    wanted = int(rng.integers(low, high + 1))
    chosen: Style = style or STYLES[int(rng.integers(2))]
    things = None
    while things is None:
        things = _place(rng, wanted)
    return Scene(
        style=chosen,
        things=things,
        background=sample_background(rng),
        light=sample_light(rng, style=chosen),
        signs=tuple(_sample_sign(rng) for _ in range(signs)),
    )


def with_light(scene: Scene, light: Light) -> Scene:
    """The same scene under another light."""
    return Scene(scene.style, scene.things, scene.background, light, scene.signs)


def _muted(rng: np.random.Generator) -> tuple[int, int, int]:
    gray = rng.uniform(70.0, 205.0)
    red, green, blue = np.clip(gray + rng.uniform(-16.0, 16.0, 3), 0, 255)
    return int(red), int(green), int(blue)


def _sample_sign(rng: np.random.Generator) -> Sign:
    kind: Literal["forbidden", "harmless"] = "forbidden" if rng.random() < 0.5 else "harmless"
    x, y = rng.uniform(0.12, 0.88, 2)
    return Sign(kind=kind, x=float(x), y=float(y), size=float(rng.uniform(0.12, 0.25)))


def _place(rng: np.random.Generator, count: int, attempts: int = 60) -> tuple[Thing, ...] | None:
    """Things placed one after another, each resampled until all are allowed together; None if that fails."""
    names = list(COLORS)
    kinds = rng.choice(len(names) * len(SHAPES), size=count, replace=False)
    depths = rng.permutation(count) / max(count, 2) + rng.uniform(0.0, 0.5 / max(count, 2))
    placed: list[Thing] = []
    for kind, depth in zip(kinds, depths, strict=True):
        for _ in range(attempts):
            thing = _sample_thing(rng, names[kind // len(SHAPES)], SHAPES[kind % len(SHAPES)], float(depth))
            if _allowed([*placed, thing]):
                placed.append(thing)
                break
        else:
            return None
    return tuple(placed) if _named(placed) else None


def _sample_thing(rng: np.random.Generator, color: str, shape: str, depth: float) -> Thing:
    size = float(rng.uniform(EVALUATION.smallest, EVALUATION.largest))
    angle = float(rng.uniform(-EVALUATION.tilt, EVALUATION.tilt))
    points = outline(shape, angle=angle, height=size)[0]
    aspect = EVALUATION.width / EVALUATION.height
    half_x, half_y = np.abs(points[:, 0]).max() / aspect + 0.004, np.abs(points[:, 1]).max() + 0.004
    x, y = rng.uniform(half_x, 1.0 - half_x), rng.uniform(half_y, 1.0 - half_y)
    return Thing(color, shape, float(x), float(y), size, angle, depth)


def _allowed(things: list[Thing]) -> bool:
    """Whether the order from left to right is clear and nothing is hidden more than allowed.

    A margin of 2 % covers the rounding to pixels.
    """
    positions = sorted(thing.x for thing in things)
    if any(right - left < ORDER_GAP for left, right in pairwise(positions)):
        return False
    return bool((visible_shares(things) >= 1.0 - EVALUATION.occluded + 0.02).all())


def _named(things: list[Thing]) -> bool:
    """Whether each neighboring pair, left to right, is clearly level or clearly one above the other."""
    ordered = sorted(things, key=lambda thing: thing.x)
    gaps = [abs(right.y - left.y) for left, right in pairwise(ordered)]
    return all(gap <= LEVEL or gap >= APART for gap in gaps)
