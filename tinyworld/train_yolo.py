"""Trains YOLOv9-t (Wang et al. 2024, ultralytics' `yolov9t.yaml`) on tinyworld from scratch.

    python -m tinyworld.train_yolo [--device cpu] [--stop-after-seconds N]

Labels are the shapes; a colour is an attribute, so nothing here changes colours. Most pictures are seen at half
size, where a step costs a quarter and shape is learned as well, the last ones at full size. The loss is
ultralytics' own; the loop is ours because theirs wants folders of label files and writes plots. The scenes of a
step depend on the seed and its number alone, so that a stopped training resumes as if it had never stopped.
"""

from __future__ import annotations

import argparse
import copy
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: ten times slower on shared cores otherwise

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from processors.models.yolo import Letterbox, import_ultralytics
from tinyworld.rendered import RenderedSet, render_set
from tinyworld.scenes import SHAPES

BUILD = Path("build/tinyworld")
CHECKPOINT = Path(__file__).parent / "checkpoints" / "yolov9" / "yolov9t.pt"
SEED = 4


@dataclass(frozen=True)
class Phase:
    """A stretch of the training: `steps` batches of `batch` pictures whose longer side is `size` pixels."""

    size: int
    steps: int
    batch: int


@dataclass(frozen=True)
class Recipe:
    """All that decides the result, besides the seed."""

    phases: tuple[Phase, ...] = (Phase(160, 2400, 32), Phase(320, 900, 24))
    learning_rate: float = 2e-3
    weight_decay: float = 5e-4
    warmup_steps: int = 100
    ema_decay: float = 0.998  # a horizon of 500 steps: the training is short
    scenes: int = 12000
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

    def rate(self, step: int) -> float:
        """Linear warm-up, then half a cosine down to a hundredth."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def batch_of(scenes: RenderedSet, step: int, phase: Phase, seed: int) -> dict[str, torch.Tensor]:
    """The batch of `step` in ultralytics' form: half of the pictures mirrored, letterboxed as at inference."""
    rng = np.random.default_rng([seed, step])
    images, index, labels, boxes = [], [], [], []
    for row, scene in enumerate(rng.integers(0, len(scenes), phase.batch)):
        image, truth, names = scenes.images[scene], scenes.boxes_of(scene), scenes.labels_of(scene)
        if rng.random() < 0.5:
            image, truth = mirrored(image, truth)
        # A scale below one, so that the size of an object in the frame says nothing about its shape.
        image, truth = shrunk(image, truth, rng.uniform(0.7, 1.0) if rng.random() < 0.3 else 1.0, rng)
        canvas = Letterbox.fit(image.shape[0], image.shape[1], phase.size, (phase.size * 4 // 5, phase.size))
        scale = canvas.inner[1] / image.shape[1]
        truth = truth * scale + np.array([canvas.left, canvas.top] * 2, np.float32)
        images.append(canvas.place(image))
        index += [row] * len(truth)
        labels += list(names)
        boxes.append(truth / np.array([phase.size, phase.size * 4 // 5] * 2, np.float32))
    corners = torch.from_numpy(np.concatenate(boxes))
    centred = torch.cat([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], 1)
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    return {
        "img": pixels.contiguous(memory_format=torch.channels_last),
        "batch_idx": torch.tensor(index, dtype=torch.float32),
        "cls": torch.tensor(labels, dtype=torch.float32)[:, None],
        "bboxes": centred,
    }


def mirrored(image: NDArray[np.uint8], boxes: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Left and right exchanged."""
    width = image.shape[1]
    flipped = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1)
    return np.ascontiguousarray(image[:, ::-1]), flipped


def shrunk(
    image: NDArray[np.uint8], boxes: NDArray[np.float32], scale: float, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The picture at `scale` somewhere on a grey canvas of its old size."""
    if scale >= 1:
        return image, boxes
    height, width = image.shape[:2]
    small = cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    canvas = np.full_like(image, 114)
    top = int(rng.integers(0, height - small.shape[0] + 1))
    left = int(rng.integers(0, width - small.shape[1] + 1))
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    return canvas, (boxes * scale + np.array([left, top, left, top])).astype(np.float32)


class Training:
    """Model, running average, optimiser and step; saved whole, so that a stopped training goes on."""

    def __init__(self, recipe: Recipe, device: str) -> None:
        import_ultralytics()
        from ultralytics.cfg import get_cfg
        from ultralytics.nn.tasks import DetectionModel

        torch.manual_seed(recipe.seed)
        self.recipe, self.device, self.step = recipe, device, 0
        self.model = DetectionModel("yolov9t.yaml", ch=3, nc=len(SHAPES), verbose=False)
        self.model.args = get_cfg()
        self.model.names = dict(enumerate(SHAPES))
        self.model.to(device, memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.model).eval()
        decayed = [p for p in self.model.parameters() if p.ndim > 1]
        plain = [p for p in self.model.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}],
            lr=recipe.learning_rate,
            fused=True,
        )

    def advance(self, batch: dict[str, torch.Tensor]) -> dict[str, float]:
        """One step; returns the parts of the loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate(self.step)
        batch = {name: tensor.to(self.device) for name, tensor in batch.items()}
        self.model.train()
        with torch.autocast(self.device, torch.bfloat16):
            predicted = self.model.predict(batch["img"])
        predicted = {name: value.float() if torch.is_tensor(value) else value for name, value in predicted.items()}
        loss, parts = self.model.loss(batch, predicted)
        (loss.sum() / len(batch["img"])).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 10.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self._average()
        return {name: float(value) for name, value in parts.items()}

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.recipe.ema_decay, (1 + self.step) / (10 + self.step))
        ours, theirs = self.average.state_dict().values(), self.model.state_dict().values()
        pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if a.is_floating_point()]
        torch._foreach_lerp_([a for a, _ in pairs], [b.detach() for _, b in pairs], 1 - decay)

    def save(self, path: Path) -> None:
        """Write the state beside and move it in place, so that a kill leaves the old one."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }
        torch.save(state, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)

    def resume(self, path: Path) -> None:
        """Go on where `path` stopped, if there is one."""
        if path.exists():
            state = torch.load(path, map_location=self.device, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step = state["step"]


def export(model: Any, path: Path, size: int) -> None:
    """Write an ultralytics checkpoint with the model in fp16, its names, task and picture size, and nothing else.

    ultralytics' own checkpoints also hold paths and git data of the machine that trained.
    """
    shipped = copy.deepcopy(model).cpu().to(memory_format=torch.contiguous_format).half().eval()
    shipped.args = {"task": "detect", "imgsz": size}
    shipped.criterion = None
    for parameter in shipped.parameters():
        parameter.requires_grad = False
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": shipped, "train_args": {"task": "detect", "imgsz": size}}, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--stop-after-seconds", type=float, default=math.inf)
    parser.add_argument("--build", type=Path, default=BUILD)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe = Recipe()
    options.build.mkdir(parents=True, exist_ok=True)
    scenes = render_set(options.build / "scenes", recipe.scenes, seed=recipe.seed, count=(1, 6))
    training = Training(recipe, options.device)
    torch.set_num_threads(options.threads)  # importing ultralytics may have changed it
    state = options.build / "yolov9t.state.pt"
    training.resume(state)
    train(training, scenes, state, time.monotonic() + options.stop_after_seconds)
    export(training.average, CHECKPOINT, recipe.phases[-1].size)


def train(training: Training, scenes: RenderedSet, state: Path, deadline: float) -> None:
    """Run to the recipe's end or the deadline (seconds of the monotonic clock)."""
    recipe, mean, started = training.recipe, dict[str, float](), time.monotonic()
    while training.step < recipe.steps and time.monotonic() < deadline:
        batch = batch_of(scenes, training.step, recipe.phase(training.step), recipe.seed)
        for name, value in training.advance(batch).items():
            mean[name] = mean.get(name, value) * 0.98 + value * 0.02
        if training.step % 50 == 0:
            parts = " ".join(f"{name}={value:.3f}" for name, value in mean.items())
            print(f"step {training.step}/{recipe.steps} {time.monotonic() - started:.0f} s {parts}", flush=True)
        if training.step % 200 == 0:
            training.save(state)
    training.save(state)


if __name__ == "__main__":
    main()
