"""Rendered training scenes on disk, uint8 and mapped into memory: drawn once, seen many times.

Half of the scenes are seen by the middle camera, half by another one, which cuts things off at the frame's edge; one
in five holds a sign, which is no thing and must not be found as one. Some are moments of clips instead, in which
things pass in front of one another and come in and go out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tinyworld.clips import sample_clip
from tinyworld.render import Rendered, render, sample_camera
from tinyworld.scenes import EVALUATION, SHAPES, Scene, sample_scene

LEAST_VISIBLE, LEAST_SIDE_PIXELS = 0.25, 6
"""Of a thing seen less than this no one can tell the shape: it is no truth to train on."""
CLIP_FRAMES = 100
"""Of the clips that moments are taken from, by `sample_clip`'s own length."""


@dataclass(frozen=True, slots=True)
class RenderedSet:
    """N scenes. `images` uint8 [N, H, W, 3] RGB; `instances` uint8 [N, H, W], 0 or 1 + a thing's number;
    `truth` float32 [N, most, 5], rows of box xyxy in pixels and shape number, -1 where no thing is (or too little
    of it is seen), a row's number being the thing's."""

    images: npt.NDArray[np.uint8]
    instances: npt.NDArray[np.uint8]
    truth: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.images)

    def things_of(self, scene: int) -> npt.NDArray[np.intp]:
        """Numbers of the things of `scene` that are truth."""
        return np.flatnonzero(self.truth[scene, :, 4] >= 0)

    def boxes_of(self, scene: int) -> npt.NDArray[np.float32]:
        """Boxes float32 [n, 4], in the order of `things_of`."""
        return np.array(self.truth[scene, self.things_of(scene), :4])

    def labels_of(self, scene: int) -> npt.NDArray[np.int64]:
        """Shape numbers [n], in the order of `things_of`."""
        return np.array(self.truth[scene, self.things_of(scene), 4], np.int64)


def render_set(
    folder: Path, scenes: int, *, seed: int, count: tuple[int, int] = (1, 6), moments: float = 0.0
) -> RenderedSet:
    """The set of that size and seed from `folder`, drawn now if it is not there (10 ms a scene); `moments` is the share
    of moments of clips."""
    place = folder / f"{scenes}-{seed}-{count[0]}-{count[1]}-{moments:g}"
    if not (place / "truth.npy").exists():
        _draw(place, sample_rendered(seed, scenes, count, moments), scenes, count[1])
    return RenderedSet(*(np.load(place / f"{name}.npy", mmap_mode="r") for name in ("images", "instances", "truth")))


def sample_rendered(seed: int, scenes: int, count: tuple[int, int], moments: float) -> Iterator[tuple[Scene, Rendered]]:
    """Training scenes and what a camera sees of them."""
    for number in range(scenes):
        rng = np.random.default_rng([seed, number])
        if rng.random() < moments:
            moment = sample_clip(rng, shots=1, count=count).frame(int(rng.integers(CLIP_FRAMES)))
            yield moment.scene, moment.rendered
        else:
            scene = sample_scene(rng, count=count, signs=int(rng.random() < 0.2))
            camera = sample_camera(rng, strength=rng.uniform(0.5, 3.0)) if rng.random() < 0.5 else None
            yield scene, render(scene, camera=camera, rng=rng)


def _draw(place: Path, drawn: Iterator[tuple[Scene, Rendered]], scenes: int, most: int) -> None:
    place.mkdir(parents=True, exist_ok=True)
    frame = (scenes, EVALUATION.height, EVALUATION.width)
    images = np.lib.format.open_memmap(place / "images.npy", mode="w+", dtype=np.uint8, shape=(*frame, 3))
    instances = np.lib.format.open_memmap(place / "instances.npy", mode="w+", dtype=np.uint8, shape=frame)
    truth = np.full((scenes, most, 5), -1.0, np.float32)
    for number, (scene, rendered) in enumerate(drawn):
        images[number] = rendered.image
        for index, thing in enumerate(scene.things):
            instances[number][rendered.masks[index]] = index + 1
            if _is_truth(rendered, index):
                truth[number, index] = [*rendered.boxes[index], SHAPES.index(thing.shape)]
    images.flush()
    instances.flush()
    np.save(place / "truth.npy", truth)  # last: its presence says that the set is whole


def _is_truth(rendered: Rendered, index: int) -> bool:
    box = rendered.boxes[index]
    sides = box[2:] - box[:2]
    return bool(rendered.visible[index] >= LEAST_VISIBLE and sides.min() >= LEAST_SIDE_PIXELS)
