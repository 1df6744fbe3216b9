"""Pictures rendered once for all trainings of the towers, at the models' own scale, kept in the build folder.

Each scene gives three views: `a` by the middle camera, `b` by another camera under another light, and `c`, a scene
that is easily taken for it: the same things elsewhere, or everything alike but one colour or shape. Beside them
lies a crop around one thing of `a`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tinyworld.ahead import in_parts
from tinyworld.pixels import Image, scaled
from tinyworld.render import Rendered, render, sample_camera
from tinyworld.scenes import COLOURS, SHAPES, STYLES, Scene, Thing, sample_light, sample_scene, with_light

SIZE, PATCH = 128, 8
ROWS, COLUMNS = 96 // PATCH, 128 // PATCH
MOST = 4
BUILD = Path("build/tinyworld")
VIEWS = ("a", "b", "c")
COLOUR_NAMES = tuple(COLOURS)
SHARES = (0.02, 0.16, 0.22, 0.28, 0.32)
"""How often a training scene has 0, 1, 2, 3, 4 things: more of the hard ones than the evaluation has."""


@dataclass(frozen=True, slots=True)
class View:
    """n pictures [n, 96, 128, 3] and their truth: per thing (-1 where there is none) colour, shape [n, 4]; middle
    x, y in 0..1 of the picture and seen share [n, 4]; which thing each patch shows, -1 for none [n, 12, 16];
    style [n]."""

    images: Image
    colours: npt.NDArray[np.int8]
    shapes: npt.NDArray[np.int8]
    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.float32]
    visible: npt.NDArray[np.float32]
    patches: npt.NDArray[np.int8]
    styles: npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Corpus:
    """The three views of n scenes, parallel; `crops` [n, 128, 128, 3] with `crop_things`, the index of its thing in
    view `a` (-1 where the scene is empty)."""

    a: View
    b: View
    c: View
    crops: Image
    crop_things: npt.NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.crop_things)


def build(folder: Path, *, scenes: int, seed: int, shares: Sequence[float] = SHARES, workers: int = 0) -> None:
    """Renders `scenes` scenes into `folder` (does nothing when they are there), by so many processes."""
    if (folder / "done").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    parts = list(in_parts(partial(_part, seed=seed, shares=shares), scenes, workers=workers))
    for name in VIEWS:
        for field in View.__slots__:
            np.save(
                folder / f"{name}-{field}.npy", np.concatenate([getattr(getattr(one, name), field) for one in parts])
            )
    for field in ("crops", "crop_things"):
        np.save(folder / f"{field}.npy", np.concatenate([getattr(one, field) for one in parts]))
    (folder / "done").touch()


def _part(numbers: range, *, seed: int, shares: Sequence[float]) -> Corpus:
    """The scenes of these numbers."""
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
        other = mistaken(rng, scene)
        _write(views["c"], index, other, render(other, camera=sample_camera(rng), rng=rng))
        if scene.things:
            thing = int(rng.integers(len(scene.things)))
            crop_things[index] = thing
            crops[index] = squared(crop(first, thing, margin=float(rng.uniform(0.05, 0.2))))
    return Corpus(**views, crops=crops, crop_things=crop_things)


def load(folder: Path) -> Corpus:
    """The corpus in `folder`, pictures mapped from disk."""
    views = []
    for name in VIEWS:
        parts = {part: np.load(folder / f"{name}-{part}.npy", mmap_mode="r") for part in View.__slots__}
        views.append(View(**parts))
    a, b, c = views
    return Corpus(a, b, c, np.load(folder / "crops.npy", mmap_mode="r"), np.load(folder / "crop_things.npy"))


def mistaken(rng: np.random.Generator, scene: Scene) -> Scene:
    """A scene easily taken for this one: its things elsewhere (three in five), or one of them recoloured or
    reshaped in place."""
    if not scene.things or rng.random() < 0.6:
        return rearranged(rng, scene)
    place = int(rng.integers(len(scene.things)))
    thing = scene.things[place]
    kinds = {(other.colour, other.shape) for other in scene.things}
    changed: list[Thing] = [replace(thing, colour=c) for c in COLOURS] + [replace(thing, shape=s) for s in SHAPES]
    changed = [new for new in changed if (new.colour, new.shape) not in kinds]
    things = list(scene.things)
    things[place] = changed[int(rng.integers(len(changed)))]
    return with_light(replace(scene, things=tuple(things)), sample_light(rng, style=scene.style))


def rearranged(rng: np.random.Generator, scene: Scene) -> Scene:
    """The same things at other places, in another size, light and before another wall."""
    fresh = sample_scene(rng, count=len(scene.things), style=scene.style)
    things = tuple(
        replace(new, colour=old.colour, shape=old.shape) for new, old in zip(fresh.things, scene.things, strict=True)
    )
    return replace(fresh, things=things)


def crop(rendered: Rendered, thing: int, *, margin: float = 0.1) -> Image:
    """The picture around one thing's box, widened by `margin` of its longer side."""
    left, top, right, bottom = rendered.boxes[thing]
    height, width = rendered.image.shape[:2]
    wide = margin * max(right - left, bottom - top)
    rows = slice(max(int(top - wide), 0), min(int(np.ceil(bottom + wide)), height))
    columns = slice(max(int(left - wide), 0), min(int(np.ceil(right + wide)), width))
    return rendered.image[rows, columns]


def squared(image: Image) -> Image:
    """The picture scaled to the models' size and centred on mid grey, uint8 [128, 128, 3]."""
    small = scaled(image, SIZE)
    canvas = np.full((SIZE, SIZE, 3), 128, np.uint8)
    top, left = (SIZE - small.shape[0]) // 2, (SIZE - small.shape[1]) // 2
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    return canvas


def _empty(scenes: int) -> View:
    few = (scenes, MOST)
    return View(
        images=np.zeros((scenes, SIZE * 3 // 4, SIZE, 3), np.uint8),
        colours=np.full(few, -1, np.int8),
        shapes=np.full(few, -1, np.int8),
        x=np.zeros(few, np.float32),
        y=np.zeros(few, np.float32),
        visible=np.zeros(few, np.float32),
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
    view.colours[index, :count] = [COLOUR_NAMES.index(thing.colour) for thing in scene.things]
    view.shapes[index, :count] = [SHAPES.index(thing.shape) for thing in scene.things]
    view.x[index, :count] = rendered.centres[:, 0] / width
    view.y[index, :count] = rendered.centres[:, 1] / height
    view.visible[index, :count] = rendered.visible
    cells = rendered.masks.reshape(count, ROWS, height // ROWS, COLUMNS, width // COLUMNS).mean(axis=(2, 4))
    view.patches[index] = np.where(cells.max(axis=0) >= 0.25, cells.argmax(axis=0), -1)


def main() -> None:
    """Renders the corpora of training and of watching the training."""
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
