"""Turns a scene into an image with exact truth: masks, boxes, and the visible share of each thing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from tinyworld.backdrops import backdrop, light_field, noise_tile
from tinyworld.outlines import Points, fill, outline
from tinyworld.scenes import COLORS, EVALUATION, Scene, Sign, Thing

Image = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Field = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Camera:
    """The position of a camera: shifts in fractions of the frame (nearer things shift more), zoom, roll in degrees.

    With a `backdrop` other than 0, another wall is behind the things.
    """

    dx: float = 0.0
    dy: float = 0.0
    zoom: float = 1.0
    roll: float = 0.0
    backdrop: int = 0


@dataclass(frozen=True, slots=True)
class Rendered:
    """An image and its truth; n things in the scene's order.

    `image` uint8 [H, W, 3] RGB; `masks` bool [n, H, W], the visible part; `full_masks` bool [n, H, W], the whole
    silhouette inside the frame; `boxes` float32 [n, 4] xyxy pixels around the visible part (zeros if nothing is
    visible); `visible` float32 [n], the visible share of the whole silhouette, including the part outside the frame;
    `centers` float32 [n, 2] xy pixels of the silhouettes; `sign_boxes` float32 [m, 4].
    """

    image: Image
    masks: Mask
    full_masks: Mask
    boxes: npt.NDArray[np.float32]
    visible: npt.NDArray[np.float32]
    centers: npt.NDArray[np.float32]
    sign_boxes: npt.NDArray[np.float32]


def sample_camera(rng: np.random.Generator, *, strength: float = 1.0) -> Camera:
    """Another camera on the same scene: shifted, nearer or farther, rolled, with another wall behind the things."""
    dx, dy = rng.uniform(-0.06, 0.06, 2) * strength
    zoom = 1.0 + rng.uniform(-0.12, 0.08) * strength
    roll = rng.uniform(-5.0, 5.0) * strength
    return Camera(float(dx), float(dy), float(zoom), float(roll), int(rng.integers(1, 2**31)))


def render(
    scene: Scene,
    *,
    camera: Camera | None = None,
    width: int = EVALUATION.width,
    height: int = EVALUATION.height,
    rng: np.random.Generator,
) -> Rendered:
    """The scene as `camera` sees it (None: the center one). `rng` determines only the sensor's noise, not the truth."""
    camera = camera or Camera()
    canvas = backdrop(scene.background, scene.style, camera.backdrop, width, height).astype(np.float32)
    placed = [_seen_by(camera, thing, width, height) for thing in scene.things]
    sign_boxes = [_draw_sign(canvas, sign, camera, width, height) for sign in scene.signs]
    count = len(placed)
    full, seen = np.zeros((count, height, width), np.bool_), np.zeros((count, height, width), np.bool_)
    areas = np.ones(count)
    for index in sorted(range(count), key=lambda i: scene.things[i].depth):
        areas[index] = _draw(canvas, full[index], scene, index, placed[index])
        seen[:, full[index]] = False
        seen[index] = full[index]
    return Rendered(
        image=_expose(canvas, scene, rng),
        masks=seen,
        full_masks=full,
        boxes=np.array([_box(mask) for mask in seen], np.float32).reshape(-1, 4),
        visible=np.minimum(seen.sum(axis=(1, 2)) / np.maximum(areas, 1.0), 1.0).astype(np.float32),
        centers=np.array([center for _, center in placed], np.float32).reshape(-1, 2),
        sign_boxes=np.array(sign_boxes, np.float32).reshape(-1, 4),
    )


def project(camera: Camera, x: float, y: float, depth: float, width: int, height: int) -> Points:
    """The position of a scene's point on the image, xy in pixels; parallax shifts near things more than far ones."""
    nearness = 0.7 + 0.6 * depth
    offset = np.array([(x - 0.5 - camera.dx * nearness) * width, (y - 0.5 - camera.dy * nearness) * height])
    radians = np.deg2rad(camera.roll)
    turn = np.array([[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]])
    return np.asarray(turn @ offset * camera.zoom + np.array([width / 2, height / 2]), np.float64)


def _seen_by(camera: Camera, thing: Thing, width: int, height: int) -> tuple[tuple[Points, ...], Points]:
    center = project(camera, thing.x, thing.y, thing.depth, width, height)
    polygons = outline(thing.shape, angle=thing.angle + camera.roll, height=thing.size * camera.zoom * height)
    return tuple(points + center for points in polygons), center


def _draw(canvas: Field, full: Mask, scene: Scene, index: int, placed: tuple[tuple[Points, ...], Points]) -> float:
    """Draw a thing on `canvas` and its silhouette in `full`; returns its area in pixels, also outside the frame."""
    polygons, _ = placed
    height, width = full.shape
    border = 6
    low = np.floor(polygons[0].min(axis=0)).astype(int) - border
    high = np.ceil(polygons[0].max(axis=0)).astype(int) + border
    shape = (high[1] - low[1], high[0] - low[0])
    local = [points - low for points in polygons]
    hard, soft = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    fill(hard, local)
    fill(soft, local, line=cv2.LINE_AA)
    area = float((hard > 0).sum())
    left, top, right, bottom = max(low[0], 0), max(low[1], 0), min(high[0], width), min(high[1], height)
    if left >= right or top >= bottom:
        return area
    part = np.s_[top - low[1] : bottom - low[1], left - low[0] : right - low[0]]
    full[top:bottom, left:right] = hard[part] > 0
    color = np.array(COLORS[scene.things[index].color], np.float32)
    target = canvas[top:bottom, left:right]
    if scene.style == "photo":
        _shade(target, soft, part, color, scene.light.direction)
    else:
        _flat(target, soft, part, color)
    return area


def _shade(target: Field, soft: Image, part: tuple[slice, slice], color: Field, direction: float) -> None:
    """Draw a soft shadow, then the body, lit from one side and with a highlight."""
    shadow = cv2.GaussianBlur(np.roll(soft, (3, 3), (0, 1)), (9, 9), 0)[part].astype(np.float32) / 255.0
    target *= 1.0 - 0.35 * shadow[..., None]
    alpha = soft[part].astype(np.float32)[..., None] / 255.0
    rows, columns = soft.shape
    body = color * _relief(rows, columns, round(direction / 10.0) * 10)[part][..., None]
    target *= 1.0 - alpha
    target += alpha * np.minimum(body, 255.0)


@lru_cache(maxsize=4096)
def _relief(rows: int, columns: int, direction: int) -> Field:
    """Brightness over a body's box: from 0.72 on the far side to 1.12 on the lit side."""
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    radians = np.deg2rad(direction)
    slope = x * np.cos(radians) + y * np.sin(radians)
    highlight = np.exp(-(((x - 0.4 * np.cos(radians)) ** 2 + (y - 0.4 * np.sin(radians)) ** 2) / 0.12))
    return np.asarray(0.92 + 0.2 * slope + 0.12 * highlight, np.float32)


def _flat(target: Field, soft: Image, part: tuple[slice, slice], color: Field) -> None:
    """Draw a dark outline inside the silhouette, and one flat color."""
    inner = cv2.erode(soft, np.ones((3, 3), np.uint8), iterations=1 if min(soft.shape) < 60 else 2)
    outer_alpha = soft[part].astype(np.float32)[..., None] / 255.0
    inner_alpha = inner[part].astype(np.float32)[..., None] / 255.0
    target *= 1.0 - outer_alpha
    target += outer_alpha * 24.0
    target *= 1.0 - inner_alpha
    target += inner_alpha * color


def _draw_sign(canvas: Field, sign: Sign, camera: Camera, width: int, height: int) -> tuple[float, ...]:
    """Draw a white disc with a black rim and a black cross (forbidden) or dot (harmless); returns its box."""
    x, y = project(camera, sign.x, sign.y, 0.0, width, height)
    radius = sign.size * camera.zoom * height / 2
    center, whole = (round(float(x)), round(float(y))), max(round(radius), 3)
    cv2.circle(canvas, center, whole, (16.0, 16.0, 16.0), -1, cv2.LINE_AA)
    cv2.circle(canvas, center, round(radius * 0.8), (236.0, 236.0, 236.0), -1, cv2.LINE_AA)
    if sign.kind == "harmless":
        cv2.circle(canvas, center, round(radius * 0.3), (16.0, 16.0, 16.0), -1, cv2.LINE_AA)
    else:
        reach, thick = round(radius * 0.5), max(round(radius * 0.22), 2)
        for rise in (-1, 1):
            ends = [(center[0] - reach, center[1] - rise * reach), (center[0] + reach, center[1] + rise * reach)]
            cv2.line(canvas, ends[0], ends[1], (16.0, 16.0, 16.0), thick, cv2.LINE_AA)
    box = (center[0] - whole, center[1] - whole, center[0] + whole + 1, center[1] + whole + 1)
    return tuple(float(np.clip(edge, 0, size)) for edge, size in zip(box, (width, height) * 2, strict=True))


def _expose(canvas: Field, scene: Scene, rng: np.random.Generator) -> Image:
    """Apply light, lens and sensor: gain, tint, gradient, a slight blur for photos, noise."""
    light = scene.light
    height, width = canvas.shape[:2]
    if scene.style == "photo":
        canvas = cv2.GaussianBlur(canvas, (3, 3), 0.7).astype(np.float32)
    canvas *= light_field(width, height, round(light.direction / 10.0) * 10)[..., None] * light.slope + 1.0
    canvas *= np.array(light.tint, np.float32) * light.gain
    if light.noise > 0:
        canvas += noise_tile(rng, width, height) * light.noise
    np.clip(canvas, 0, 255, out=canvas)
    return canvas.astype(np.uint8)


def _box(mask: Mask) -> tuple[float, float, float, float]:
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not len(columns):
        return 0.0, 0.0, 0.0, 0.0
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
