"""Rendered training scenes on disk, uint8 and memory-mapped: rendered once, used many times.

Half of the scenes are from the center camera, half from another one, where the frame's edge cuts things off. One in
five contains a sign, which must not be detected as a thing. Some are moments of clips instead, in which things pass in
front of one another, enter and leave.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tinyworld.clips import sample_clip
from tinyworld.prefetch import map_in_parts
from tinyworld.render import Rendered, render, sample_camera
from tinyworld.scenes import EVALUATION, SHAPES, Scene, sample_scene

LEAST_VISIBLE, LEAST_SIDE_PIXELS = 0.25, 6
"""The shape of a thing that is less visible cannot be recognized, so it is not used as truth."""
CLIP_FRAMES = 100
"""Frames of the clips that moments are taken from: the default length of `sample_clip`."""


@dataclass(frozen=True, slots=True)
class RenderedSet:
    """N scenes with their truth.

    `images` uint8 [N, H, W, 3] RGB; `instances` uint8 [N, H, W], 0 or 1 + the number of a thing; `truth` float32
    [N, most, 5], one row per thing: box xyxy in pixels and number of the shape, -1 where there is no thing or too
    little of it is visible.
    """

    images: npt.NDArray[np.uint8]
    instances: npt.NDArray[np.uint8]
    truth: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.images)

    def things_of(self, scene: int) -> npt.NDArray[np.intp]:
        """Numbers of the things of `scene` that have a row of truth."""
        return np.flatnonzero(self.truth[scene, :, 4] >= 0)

    def boxes_of(self, scene: int) -> npt.NDArray[np.float32]:
        """Boxes float32 [n, 4], in the order of `things_of`."""
        return np.array(self.truth[scene, self.things_of(scene), :4])

    def labels_of(self, scene: int) -> npt.NDArray[np.int64]:
        """Shape numbers [n], in the order of `things_of`."""
        return np.array(self.truth[scene, self.things_of(scene), 4], np.int64)


def render_set(
    folder: Path, scenes: int, *, seed: int, count: tuple[int, int] = (1, 6), moments: float = 0.0, workers: int = 0
) -> RenderedSet:
    """The set of this size and seed in `folder`; if it is missing, `workers` processes render it (10 ms per scene).

    `moments` is the share of moments of clips.
    """
    path = folder / f"{scenes}-{seed}-{count[0]}-{count[1]}-{moments:g}"
    if not (path / "truth.npy").exists():
        _render_set(path, scenes, seed=seed, count=count, moments=moments, workers=workers)
    return RenderedSet(*(np.load(path / f"{name}.npy", mmap_mode="r") for name in ("images", "instances", "truth")))


def sample_rendered(seed: int, number: int, count: tuple[int, int], moments: float) -> tuple[Scene, Rendered]:
    """A training scene and its picture from a camera."""
    rng = np.random.default_rng([seed, number])
    if rng.random() < moments:
        moment = sample_clip(rng, shots=1, count=count).frame(int(rng.integers(CLIP_FRAMES)))
        return moment.scene, moment.rendered
    scene = sample_scene(rng, count=count, signs=int(rng.random() < 0.2))
    camera = sample_camera(rng, strength=rng.uniform(0.5, 3.0)) if rng.random() < 0.5 else None
    return scene, render(scene, camera=camera, rng=rng)


def _render_set(path: Path, scenes: int, *, seed: int, count: tuple[int, int], moments: float, workers: int) -> None:
    path.mkdir(parents=True, exist_ok=True)
    frame = (scenes, EVALUATION.height, EVALUATION.width)
    for name, shape in (("images", (*frame, 3)), ("instances", frame)):
        np.lib.format.open_memmap(path / f"{name}.npy", mode="w+", dtype=np.uint8, shape=shape)
    part = partial(_render_part, path, seed=seed, count=count, moments=moments)
    truth = np.concatenate(list(map_in_parts(part, scenes, workers=workers)))
    np.save(path / "truth.npy", truth)  # last: its presence shows that the set is complete


def _render_part(
    path: Path, numbers: range, *, seed: int, count: tuple[int, int], moments: float
) -> npt.NDArray[np.float32]:
    """Write pictures and instances of the scenes with these numbers; returns their truth."""
    images, instances = (np.load(path / f"{name}.npy", mmap_mode="r+") for name in ("images", "instances"))
    truth = np.full((len(numbers), count[1], 5), -1.0, np.float32)
    for row, number in enumerate(numbers):
        scene, rendered = sample_rendered(seed, number, count, moments)
        images[number] = rendered.image
        for index, thing in enumerate(scene.things):
            instances[number][rendered.masks[index]] = index + 1
            if _is_truth(rendered, index):
                truth[row, index] = [*rendered.boxes[index], SHAPES.index(thing.shape)]
    images.flush()
    instances.flush()
    return truth


def _is_truth(rendered: Rendered, index: int) -> bool:
    box = rendered.boxes[index]
    sides = box[2:] - box[:2]
    return bool(rendered.visible[index] >= LEAST_VISIBLE and sides.min() >= LEAST_SIDE_PIXELS)
