"""Trains YOLOv9-t (Wang et al. 2024, ultralytics' `yolov9t.yaml`) on tinyworld from scratch.

    python -m tinyworld.train_yolo [--device cpu] [--workers N] [--stop-after-seconds N]

Labels are the shapes; color is an attribute, so no augmentation changes colors. Most steps use pictures of half the
size, where a step costs a quarter and teaches shape as well; the last steps use the full size. The loss is
ultralytics' own. The loop is ours, because theirs needs folders of label files and writes plots. The scenes of a step
depend on the seed and the step's number alone, so that a stopped training resumes as if it had not stopped.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: ten times slower on shared cores otherwise

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from processors.models.yolo import Letterbox, import_ultralytics
from tinyworld.model_cards import describe_detector
from tinyworld.prefetch import prefetched
from tinyworld.rendered_set import RenderedSet, render_set
from tinyworld.resumable import Resumable, cosine, options, run
from tinyworld.scenes import SHAPES

CHECKPOINT = Path(__file__).parent / "checkpoints" / "yolov9" / "yolov9t.pt"
SEED = 4


@dataclass(frozen=True)
class Phase:
    """A phase of the training: `steps` batches of `batch` pictures whose longer side is `size` pixels."""

    size: int
    steps: int
    batch: int


@dataclass(frozen=True)
class Recipe:
    """Everything that determines the result besides the seed."""

    phases: tuple[Phase, ...] = (Phase(160, 900, 32), Phase(256, 500, 24))
    learning_rate: float = 2e-3
    weight_decay: float = 5e-4
    warmup_steps: int = 100
    average_decay: float = 0.998  # a horizon of 500 steps: the training is short
    scenes: int = 12000
    moments: float = 0.0
    seed: int = SEED

    @property
    def steps(self) -> int:
        return sum(phase.steps for phase in self.phases)

    def phase(self, step: int) -> Phase:
        """The phase that `step` belongs to."""
        for phase in self.phases:
            if step < phase.steps:
                return phase
            step -= phase.steps
        return self.phases[-1]


def batch_of(scenes: RenderedSet, step: int, phase: Phase, seed: int) -> dict[str, torch.Tensor]:
    """The batch of `step` in ultralytics' format: half of the pictures mirrored, letterboxed as at inference."""
    rng = np.random.default_rng([seed, step])
    images, index, labels, boxes = [], [], [], []
    for row, scene in enumerate(rng.integers(0, len(scenes), phase.batch)):
        image, truth, names = scenes.images[scene], scenes.boxes_of(scene), scenes.labels_of(scene)
        if rng.random() < 0.5:
            image, truth = mirrored(image, truth)
        # Scaled down sometimes, so that an object's size in the frame does not indicate its shape.
        image, truth = shrunk(image, truth, rng.uniform(0.7, 1.0) if rng.random() < 0.3 else 1.0, rng)
        canvas = Letterbox.fit(image.shape[0], image.shape[1], phase.size)
        scale = canvas.inner[1] / image.shape[1]
        truth = truth * scale + np.array([canvas.left, canvas.top] * 2, np.float32)
        images.append(canvas.apply(image))
        index += [row] * len(truth)
        labels += list(names)
        boxes.append(truth / np.array(canvas.size[::-1] * 2, np.float32))
    corners = torch.from_numpy(np.concatenate(boxes))
    centered = torch.cat([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], 1)
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    return {
        "img": pixels.contiguous(memory_format=torch.channels_last),
        "batch_idx": torch.tensor(index, dtype=torch.float32),
        "cls": torch.tensor(labels, dtype=torch.float32)[:, None],
        "bboxes": centered,
    }


def mirrored(image: NDArray[np.uint8], boxes: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The picture and its boxes, mirrored horizontally."""
    width = image.shape[1]
    flipped = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1)
    return np.ascontiguousarray(image[:, ::-1]), flipped


def shrunk(
    image: NDArray[np.uint8], boxes: NDArray[np.float32], scale: float, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The picture at `scale`, placed at random on a gray canvas of the original size."""
    if scale >= 1:
        return image, boxes
    height, width = image.shape[:2]
    small = cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    canvas = np.full_like(image, 114)
    top = int(rng.integers(0, height - small.shape[0] + 1))
    left = int(rng.integers(0, width - small.shape[1] + 1))
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    return canvas, (boxes * scale + np.array([left, top, left, top])).astype(np.float32)


class YoloTraining(Resumable):
    """The training of the detector; `workers` processes prepare the batches."""

    def __init__(self, recipe: Recipe, scenes: RenderedSet, *, device: str, workers: int = 0) -> None:
        import_ultralytics()
        from ultralytics.cfg import get_cfg
        from ultralytics.nn.tasks import DetectionModel

        torch.manual_seed(recipe.seed)
        model = DetectionModel("yolov9t.yaml", ch=3, nc=len(SHAPES), verbose=False)
        model.args = get_cfg()  # the weights of the loss's parts
        model.names = dict(enumerate(SHAPES))
        model.to(device, memory_format=torch.channels_last)
        super().__init__(model, weight_decay=recipe.weight_decay, average_decay=recipe.average_decay)
        self.recipe, self.scenes, self.device, self._workers = recipe, scenes, device, workers
        self._batches: Iterator[dict[str, torch.Tensor]] | None = None

    def batch(self, step: int) -> dict[str, torch.Tensor]:
        """The batch of a step, which depends on the seed and `step` alone."""
        return batch_of(self.scenes, step, self.recipe.phase(step), self.recipe.seed)

    def advance(self, step: int) -> dict[str, float]:
        """Take a step; returns the parts of the loss. The first may be any step; the others follow it."""
        recipe = self.recipe
        if self._batches is None:
            self._batches = prefetched(self.batch, range(step, recipe.steps), workers=self._workers)
        batch = {name: tensor.to(self.device) for name, tensor in next(self._batches).items()}
        self.model.train()
        with torch.autocast(self.device, torch.bfloat16):
            predicted = self.model.predict(batch["img"])
        predicted = {name: value.float() if torch.is_tensor(value) else value for name, value in predicted.items()}
        loss, parts = self.model.loss(batch, predicted)
        rate = cosine(step, recipe.steps, peak=recipe.learning_rate, warmup_steps=recipe.warmup_steps)
        self.descend(loss.sum() / len(batch["img"]), rate=rate, largest_norm=10.0)
        return {name: float(value) for name, value in parts.items()}


def export(model: Any, path: Path, size: int) -> None:
    """Write an ultralytics checkpoint with the model in fp16, its names, task and picture size, and nothing else.

    ultralytics' own checkpoints also contain paths and git data of the training machine.
    """
    shipped = copy.deepcopy(model).cpu().to(memory_format=torch.contiguous_format).half().eval()
    shipped.args = {"task": "detect", "imgsz": size}
    shipped.criterion = None
    for parameter in shipped.parameters():
        parameter.requires_grad = False
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": shipped, "train_args": {"task": "detect", "imgsz": size}}, path)


def main() -> None:
    arguments = options(__doc__)
    recipe = Recipe()
    scenes = render_set(
        arguments.build / "scenes", recipe.scenes, seed=recipe.seed, moments=recipe.moments, workers=arguments.workers
    )
    training = YoloTraining(recipe, scenes, device=arguments.device, workers=arguments.workers)
    state = arguments.build / "yolov9t.state.pt"
    training.resume(state)
    if not run(training, training.advance, steps=recipe.steps, state=state, until=arguments.until):
        return  # the next call resumes
    export(training.average, CHECKPOINT, recipe.phases[-1].size)
    describe_detector(CHECKPOINT.parent)


if __name__ == "__main__":
    main()
