"""Trainings that may be stopped at any step: state on disk, running average, learning rate."""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

BUILD = Path("build/tinyworld")


def options(description: str | None) -> argparse.Namespace:
    """Parse the command line of a training, set torch's threads and create the folder `build`.

    `until` is the monotonic time at which the training has to stop.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0, help="processes that prepare the next steps")
    parser.add_argument("--stop-after-seconds", type=float, default=math.inf)
    parser.add_argument("--build", type=Path, default=BUILD)
    arguments = parser.parse_args()
    arguments.until = time.monotonic() + arguments.stop_after_seconds
    torch.set_num_threads(arguments.threads)
    arguments.build.mkdir(parents=True, exist_ok=True)
    return arguments


def cosine(step: int, steps: int, *, peak: float, warmup_steps: int) -> float:
    """Linear warm-up, then half a cosine down to a hundredth of `peak`."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    done = (step - warmup_steps) / max(1, steps - warmup_steps)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def save_state(path: Path, model: Any, optimizers: Sequence[torch.optim.Optimizer], step: int) -> None:
    """Write a training's state beside `path` and move it into place, so that a kill leaves the old one."""
    state = {"model": model.state_dict(), "optimisers": [each.state_dict() for each in optimizers], "step": step}
    torch.save(state, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def load_state(path: Path, model: Any, optimizers: Sequence[torch.optim.Optimizer], *, device: str) -> int:
    """Load what `save_state` wrote; returns the step, 0 if there is no state."""
    if not path.exists():
        return 0
    saved = torch.load(path, map_location=device, weights_only=True)
    model.load_state_dict(saved["model"])
    for optimizer, state in zip(optimizers, saved["optimisers"], strict=True):
        optimizer.load_state_dict(state)
    return int(saved["step"])


class Resumable:
    """Model, running average (which is evaluated and shipped), optimizer and step."""

    def __init__(self, model: Any, *, weight_decay: float, average_decay: float) -> None:
        self.model, self.step, self._average_decay = model, 0, average_decay
        self.average = copy.deepcopy(model).eval()
        parameters = list(model.parameters())
        decayed = {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay}
        plain = {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0}
        self._optimizer = torch.optim.AdamW([decayed, plain], fused=True)

    def descend(self, loss: torch.Tensor, *, rate: float, largest_norm: float) -> None:
        """Take one step down the gradient of `loss` and update the running average."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), largest_norm)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self._update_average()

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self._average_decay, (1 + self.step) / (10 + self.step))
        pairs = zip(self.average.state_dict().values(), self.model.state_dict().values(), strict=True)
        floats = [(ours, theirs) for ours, theirs in pairs if ours.is_floating_point()]
        torch._foreach_lerp_([ours for ours, _ in floats], [theirs for _, theirs in floats], 1 - decay)

    def save(self, path: Path) -> None:
        """Write the state beside `path` and move it into place, so that a kill leaves the old one."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "step": self.step,
        }
        torch.save(state, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)

    def resume(self, path: Path) -> None:
        """Load the state at `path`, if there is one."""
        if not path.exists():
            return
        state = torch.load(path, map_location=next(self.model.parameters()).device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]


def run(
    training: Resumable,
    advance: Callable[[int], dict[str, float]],
    *,
    steps: int,
    state: Path,
    until: float = math.inf,
) -> bool:
    """Call `advance` with the number of each step until `steps` are done or the monotonic time `until` is reached.

    Running means of the returned losses are printed; `state` is written every 200 steps and at the end. Returns
    whether all steps are done.
    """
    means: dict[str, float] = {}
    started = time.monotonic()
    while training.step < steps and time.monotonic() < until:
        for name, value in advance(training.step).items():
            means[name] = means.get(name, value) * 0.98 + value * 0.02
        if training.step % 50 == 0:
            parts = " ".join(f"{name} {value:.3f}" for name, value in means.items())
            print(f"step {training.step}/{steps}, {time.monotonic() - started:.0f} s: {parts}", flush=True)
        if training.step % 200 == 0:
            training.save(state)
    training.save(state)
    return training.step >= steps
