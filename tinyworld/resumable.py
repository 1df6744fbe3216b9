"""A training that may be stopped at any step: its state on disk, its running average, its learning rate."""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

BUILD = Path("build/tinyworld")


def options(description: str | None) -> argparse.Namespace:
    """The command line of a training: `device`, `workers`, the time (monotonic) `until` which it may run, and the
    folder `build`, which is there then. Sets torch's threads."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0, help="processes that prepare what the next steps need")
    parser.add_argument("--stop-after-seconds", type=float, default=math.inf)
    parser.add_argument("--build", type=Path, default=BUILD)
    given = parser.parse_args()
    given.until = time.monotonic() + given.stop_after_seconds
    torch.set_num_threads(given.threads)
    given.build.mkdir(parents=True, exist_ok=True)
    return given


def cosine(step: int, steps: int, *, peak: float, warmup_steps: int) -> float:
    """Linear warm-up, then half a cosine down to a hundredth of `peak`."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    done = (step - warmup_steps) / max(1, steps - warmup_steps)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


class Resumable:
    """Model, running average (by which it is judged and shipped), optimiser and step."""

    def __init__(self, model: Any, *, weight_decay: float, average_decay: float) -> None:
        self.model, self.step, self._average_decay = model, 0, average_decay
        self.average = copy.deepcopy(model).eval()
        parameters = list(model.parameters())
        decayed = {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay}
        plain = {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0}
        self._optimizer = torch.optim.AdamW([decayed, plain], fused=True)

    def descend(self, loss: torch.Tensor, *, rate: float, largest_norm: float) -> None:
        """One step down the gradient of `loss`; the running average follows."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), largest_norm)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self._follow()

    @torch.no_grad()
    def _follow(self) -> None:
        decay = min(self._average_decay, (1 + self.step) / (10 + self.step))
        pairs = zip(self.average.state_dict().values(), self.model.state_dict().values(), strict=True)
        floats = [(ours, theirs) for ours, theirs in pairs if ours.is_floating_point()]
        torch._foreach_lerp_([ours for ours, _ in floats], [theirs for _, theirs in floats], 1 - decay)

    def save(self, path: Path) -> None:
        """Write the state beside and move it in place, so that a kill leaves the old one."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "step": self.step,
        }
        torch.save(state, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)

    def resume(self, path: Path) -> None:
        """Go on where `path` stopped, if there is one."""
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
    """Call `advance` with each step's number until `steps` are done or (monotonic) `until` has come, printing running
    means of what it returns; `state` is written every 200 steps and at the end. Returns whether all steps are done."""
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
