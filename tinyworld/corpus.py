"""Pictures for the trainings of the vision tower, rendered once at the models' scale and kept in the build folder.

Each scene has three views: `a` from the center camera, `b` from another camera in another light, and `c`, a scene that
is easily confused with it: the same things elsewhere, or one color or shape changed. A crop shows one thing of `a`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tinyworld.prefetch import map_in_parts
from tinyworld.preprocess import Image, scaled
from tinyworld.render import Rendered, render, sample_camera
from tinyworld.scenes import COLORS, SHAPES, STYLES, Scene, Thing, sample_light, sample_scene, with_light

SIZE, PATCH = 128, 8
ROWS, COLUMNS = 96 // PATCH, 128 // PATCH
MOST = 4
BUILD = Path("build/tinyworld")
VIEWS = ("a", "b", "c")
STORED_NAMES = {"colors": "colours"}
"""Names of a view's fields in file names, where they differ: corpora in build folders keep theirs."""
COLOR_NAMES = tuple(COLORS)
SHARES = (0.02, 0.16, 0.22, 0.28, 0.32)
"""Shares of training scenes with 0, 1, 2, 3 and 4 things: more of the hard ones than in the evaluation."""


@dataclass(frozen=True, slots=True)
class View:
    """n pictures [n, 96, 128, 3] and their truth.

    Per thing [n, 4]: color and shape (-1 where there is none), center x and y in 0..1 of the picture, visible share.
    `patches` [n, 12, 16] is the thing that each patch shows, -1 for none; `styles` [n].
    """

    images: Image
    colors: npt.NDArray[np.int8]
    shapes: npt.NDArray[np.int8]
    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.float32]
    visible: npt.NDArray[np.float32]
    patches: npt.NDArray[np.int8]
    styles: npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Corpus:
    """The three views of n scenes, in the same order.

    `crops` [n, 128, 128, 3] each show one thing; `crop_things` is its index in view `a` (-1 if the scene is empty).
    """

    a: View
    b: View
    c: View
    crops: Image
    crop_things: npt.NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.crop_things)


def build(folder: Path, *, scenes: int, seed: int, shares: Sequence[float] = SHARES, workers: int = 0) -> None:
    """Render `scenes` scenes into `folder` with `workers` processes; does nothing if the corpus is complete."""
    if (folder / "done").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    parts = list(map_in_parts(partial(_part, seed=seed, shares=shares), scenes, workers=workers))
    for name in VIEWS:
        for field in View.__slots__:
            values = np.concatenate([getattr(getattr(part, name), field) for part in parts])
            np.save(folder / _file_name(name, field), values)
    for field in ("crops", "crop_things"):
        np.save(folder / f"{field}.npy", np.concatenate([getattr(part, field) for part in parts]))
    (folder / "done").touch()


def _file_name(view: str, field: str) -> str:
    return f"{view}-{STORED_NAMES.get(field, field)}.npy"


def _part(numbers: range, *, seed: int, shares: Sequence[float]) -> Corpus:
    """The scenes with these numbers."""
    scenes = len(numbers)
    views = {name: _empty(scenes) for name in VIEWS}
    crops, crop_things = np.zeros((scenes, SIZE, SIZE, 3), np.uint8), np.full(scenes, -1, np.int8)
    for index, number in enumerate(numbers):
        rng = np.random.default_rng([seed, number])
        scene = sample_scene(rng, count=int(rng.choice(len(shares), p=shares)))
        first = render(scene, rng=rng)
        _write(views["a"], index, scene, first)
        lit = with_light(scene, sample_light(rng, style=scene.style))
        _write(views["b"], index, lit, render(lit, camera=sample_camera(rng), rng=rng))
        other = confusable_scene(rng, scene)
        _write(views["c"], index, other, render(other, camera=sample_camera(rng), rng=rng))
        if scene.things:
            thing = int(rng.integers(len(scene.things)))
            crop_things[index] = thing
            crops[index] = squared(crop(first, thing, margin=float(rng.uniform(0.05, 0.2))))
    return Corpus(**views, crops=crops, crop_things=crop_things)


def load(folder: Path) -> Corpus:
    """The corpus in `folder`, memory-mapped."""
    views = []
    for name in VIEWS:
        fields = {field: np.load(folder / _file_name(name, field), mmap_mode="r") for field in View.__slots__}
        views.append(View(**fields))
    a, b, c = views
    return Corpus(a, b, c, np.load(folder / "crops.npy", mmap_mode="r"), np.load(folder / "crop_things.npy"))


def confusable_scene(rng: np.random.Generator, scene: Scene) -> Scene:
    """A scene easily confused with this one: its things elsewhere (three in five), or one of them changed in place."""
    if not scene.things or rng.random() < 0.6:
        return rearranged(rng, scene)
    index = int(rng.integers(len(scene.things)))
    thing = scene.things[index]
    kinds = {(other.color, other.shape) for other in scene.things}
    changed: list[Thing] = [replace(thing, color=c) for c in COLORS] + [replace(thing, shape=s) for s in SHAPES]
    changed = [new for new in changed if (new.color, new.shape) not in kinds]
    things = list(scene.things)
    things[index] = changed[int(rng.integers(len(changed)))]
    return with_light(replace(scene, things=tuple(things)), sample_light(rng, style=scene.style))


def rearranged(rng: np.random.Generator, scene: Scene) -> Scene:
    """The same things in other places and sizes, in another light and in front of another wall."""
    fresh = sample_scene(rng, count=len(scene.things), style=scene.style)
    things = tuple(
        replace(new, color=old.color, shape=old.shape) for new, old in zip(fresh.things, scene.things, strict=True)
    )
    return replace(fresh, things=things)


def crop(rendered: Rendered, thing: int, *, margin: float = 0.1) -> Image:
    """The picture around one thing's box, extended by `margin` times its longer side."""
    left, top, right, bottom = rendered.boxes[thing]
    height, width = rendered.image.shape[:2]
    wide = margin * max(right - left, bottom - top)
    rows = slice(max(int(top - wide), 0), min(int(np.ceil(bottom + wide)), height))
    columns = slice(max(int(left - wide), 0), min(int(np.ceil(right + wide)), width))
    return rendered.image[rows, columns]


def squared(image: Image) -> Image:
    """The picture scaled to the models' size and centered on mid-gray, uint8 [128, 128, 3]."""
    small = scaled(image, SIZE)
    canvas = np.full((SIZE, SIZE, 3), 128, np.uint8)
    top, left = (SIZE - small.shape[0]) // 2, (SIZE - small.shape[1]) // 2
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    return canvas


def _empty(scenes: int) -> View:
    shape = (scenes, MOST)
    return View(
        images=np.zeros((scenes, SIZE * 3 // 4, SIZE, 3), np.uint8),
        colors=np.full(shape, -1, np.int8),
        shapes=np.full(shape, -1, np.int8),
        x=np.zeros(shape, np.float32),
        y=np.zeros(shape, np.float32),
        visible=np.zeros(shape, np.float32),
        patches=np.full((scenes, ROWS, COLUMNS), -1, np.int8),
        styles=np.zeros(scenes, np.int8),
    )


def _write(view: View, index: int, scene: Scene, rendered: Rendered) -> None:
    height, width = rendered.image.shape[:2]
    view.images[index] = scaled(rendered.image, SIZE)
    view.styles[index] = STYLES.index(scene.style)
    count = len(scene.things)
    if not count:
        return
    view.colors[index, :count] = [COLOR_NAMES.index(thing.color) for thing in scene.things]
    view.shapes[index, :count] = [SHAPES.index(thing.shape) for thing in scene.things]
    view.x[index, :count] = rendered.centers[:, 0] / width
    view.y[index, :count] = rendered.centers[:, 1] / height
    view.visible[index, :count] = rendered.visible
    cells = rendered.masks.reshape(count, ROWS, height // ROWS, COLUMNS, width // COLUMNS).mean(axis=(2, 4))
    view.patches[index] = np.where(cells.max(axis=0) >= 0.25, cells.argmax(axis=0), -1)


def main() -> None:
    """Render the corpora for training and for validation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=24000)
    parser.add_argument("--workers", type=int, default=0, help="processes that render")
    arguments = parser.parse_args()
    workers = arguments.workers
    build(BUILD / "corpus-watch", scenes=400, seed=900_001, shares=(0.0, 0.25, 0.25, 0.25, 0.25), workers=workers)
    build(BUILD / "corpus-early", scenes=1500, seed=2, workers=workers)
    build(BUILD / "corpus", scenes=arguments.scenes, seed=1, workers=workers)


if __name__ == "__main__":
    main()
