"""Teaches the shared vision tower what every patch shows: first in windows around things, then in whole scenes.

    python -m tinyworld.pretrain_tower [--device cpu] [--workers N]

Shape is what is hard to learn in this world: color is learned in a hundred steps, shape needs thousands. It is learned
here, once, with labels for every patch: a thousand times more supervision per picture than a caption gives.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: ten times slower on shared cores otherwise

import numpy as np
import torch
from torch import Tensor, nn

from tinyworld.corpus import BUILD, COLUMNS, PATCH, ROWS, Corpus, load
from tinyworld.dense_heads import DenseHeads
from tinyworld.patch_truth import augmented_pictures, flattened, kinds_present, on_device, patch_truth, scene_truth
from tinyworld.prefetch import prefetched
from tinyworld.resumable import load_state, save_state
from tinyworld.scenes import SHAPES
from tinyworld.tower import TOP, Geometry, Tower

WINDOW = 8
"""Patches per side of a window."""


@dataclass(frozen=True)
class Recipe:
    """Everything that determines the result besides the corpus: steps on windows and on scenes, batch sizes, rates."""

    window_steps: int = 700
    scene_steps: int = 400
    windows: int = 96
    scenes: int = 32
    rate: float = 3e-3
    matrix_rate: float = 5e-3
    seed: int = 1

    @property
    def steps(self) -> int:
        return self.window_steps + self.scene_steps


def scene_batch(corpus: Corpus, rng: np.random.Generator, count: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Whole scenes and their truth."""
    view = (corpus.a, corpus.b, corpus.c)[int(rng.integers(3))]
    rows, flips = np.sort(rng.choice(len(corpus), count, replace=False)), rng.random(count) < 0.5
    tensors = scene_truth(view, rows, flips)
    return torch.from_numpy(augmented_pictures(view, rows, flips, rng)), tensors


def window_batch(
    corpus: Corpus, rng: np.random.Generator, count: int
) -> tuple[Tensor, dict[str, Tensor], tuple[int, int]]:
    """Windows of 8 x 8 patches: one position for the whole batch, and the scenes that show most there."""
    view = (corpus.a, corpus.b, corpus.c)[int(rng.integers(3))]
    row, column = int(rng.integers(ROWS - WINDOW + 1)), int(rng.integers(COLUMNS - WINDOW + 1))
    drawn = rng.choice(len(corpus), min(count * 3, len(corpus)), replace=False)
    flips = rng.random(len(drawn)) < 0.5
    shown = np.asarray(view.patches[drawn]) >= 0
    shown = np.where(flips[:, None, None], shown[:, :, ::-1], shown)
    fullest = np.argsort(-shown[:, row : row + WINDOW, column : column + WINDOW].sum(axis=(1, 2)))[:count]
    rows, flips = drawn[fullest], flips[fullest]
    truth = patch_truth(view, rows, flips)
    local = ("shape", "color", "way")  # a window does not show the rest of the picture
    tensors = flattened({name: truth[name][:, row : row + WINDOW, column : column + WINDOW] for name in local})
    y, x = row * PATCH, column * PATCH
    images = augmented_pictures(view, rows, flips, rng)[:, :, y : y + WINDOW * PATCH, x : x + WINDOW * PATCH]
    return torch.from_numpy(np.ascontiguousarray(images)), tensors, (row, column)


def optimizers(module: nn.Module, rate: float, matrix_rate: float) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al. 2024) for the matrices of the blocks, AdamW for the rest."""
    matrices = [p for n, p in module.named_parameters() if "blocks" in n and p.ndim == 2 and p.requires_grad]
    in_matrices = {id(p) for p in matrices}
    rest = [p for p in module.parameters() if id(p) not in in_matrices and p.requires_grad]
    adamw = torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    if not matrix_rate:
        return [torch.optim.AdamW(rest + matrices, lr=rate, betas=(0.9, 0.98), weight_decay=0.01)]
    muon = torch.optim.Muon(matrices, lr=matrix_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    return [muon, adamw]


def schedule(step: int, steps: int, warmup: int = 100) -> float:
    """Factor on the rate: linear warm-up, constant, then over the last half a cosine down to a fiftieth."""
    if step < warmup:
        return (step + 1) / warmup
    late = max(0.0, (step / steps - 0.5) / 0.5)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(late, 1.0)))


@torch.no_grad()
def validate(dense: DenseHeads, corpus: Corpus) -> dict[str, float]:
    """On view a: shares of object patches with the right classes, and of scenes with the right style and kinds."""
    dense.eval()
    rows = np.arange(128)
    truth = patch_truth(corpus.a, rows, np.zeros(128, bool))
    rng = np.random.default_rng(0)
    device = dense.style.weight.device
    images = torch.from_numpy(augmented_pictures(corpus.a, rows, np.zeros(128, bool), rng)).to(device)
    with torch.autocast(device.type, torch.bfloat16):
        tokens = dense.tower.norm(dense.tower(images, row=TOP))
        shape = dense.shape(tokens[:, 1:]).argmax(-1).reshape(truth["shape"].shape).cpu().numpy()
        color = dense.colour(tokens[:, 1:]).argmax(-1).reshape(truth["shape"].shape).cpu().numpy()
        rank = dense.rank(tokens[:, 1:]).argmax(-1).reshape(truth["shape"].shape).cpu().numpy()
        following = dense.next(tokens[:, 1:]).argmax(-1).reshape(truth["shape"].shape).cpu().numpy()
        style = (dense.style(tokens[:, 0])[:, 0] > 0).cpu().numpy() == np.asarray(corpus.a.styles[rows])
        kinds = ((dense.kinds(tokens[:, 0]) > 0).cpu().numpy() == kinds_present(corpus.a, rows)).all(1)
    there = truth["shape"] < len(SHAPES)
    dense.train()
    return {
        "shape": float((shape == truth["shape"])[there].mean()),
        "color": float((color == truth["color"])[there].mean()),
        "rank": float((rank == truth["rank"])[there].mean()),
        "next": float((following == truth["next"])[there].mean()),
        "style": float(style.mean()),
        "all_kinds": float(kinds.mean()),
    }


def sample_step(corpus: Corpus, recipe: Recipe, step: int) -> tuple[Tensor, dict[str, Tensor], tuple[int, int]]:
    """Pictures of a step, the truth of their patches, and the patch at which they begin."""
    rng = np.random.default_rng([recipe.seed, step])
    if step < recipe.window_steps:
        return window_batch(corpus, rng, recipe.windows)
    return *scene_batch(corpus, rng, recipe.scenes), (0, 0)


def train(
    recipe: Recipe,
    folder: Path,
    *,
    pictures_in: Path = BUILD / "corpus",
    limit: int | None = None,
    device: str = "cpu",
    workers: int = 0,
) -> None:
    """Train into `folder` (tower.pt), resuming from the state there.

    `limit` ends the training early; `workers` processes prepare the steps.
    """
    torch.set_num_threads(1)
    torch.manual_seed(recipe.seed)
    corpus, held_out = load(pictures_in), load(BUILD / "corpus-watch")
    dense = DenseHeads(Tower(Geometry()))
    first = augmented_pictures(corpus.a, np.arange(256), np.zeros(256, bool), np.random.default_rng(0))
    pieces = torch.from_numpy(first).unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH)
    dense.tower.whiten(pieces.permute(0, 2, 3, 1, 4, 5).reshape(-1, 3 * PATCH**2))
    dense.to(device)
    chain = optimizers(dense, recipe.rate, recipe.matrix_rate)
    step = load_state(folder / "tower.pt", dense, chain, device=device)
    rates = [recipe.matrix_rate, recipe.rate] if len(chain) == 2 else [recipe.rate]
    began, seconds = time.time(), time.thread_time()
    steps = range(step, min(recipe.steps, limit or recipe.steps))
    for images, truth, (row, column) in prefetched(partial(sample_step, corpus, recipe), steps, workers=workers):
        with torch.autocast(device, torch.bfloat16):
            tokens = dense.tower.norm(dense.tower(images.to(device), row=TOP + row, column=column))
            loss = dense.losses(tokens, on_device(device, truth))
        for optimizer, rate in zip(chain, rates, strict=True):
            optimizer.zero_grad()
            optimizer.param_groups[0]["lr"] = rate * schedule(step, recipe.steps)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(dense.parameters(), 1.0)
        for optimizer in chain:
            optimizer.step()
        step += 1
        if step % 100 == 0:
            figures = {name: round(value, 3) for name, value in validate(dense, held_out).items()}
            spent = f"{time.time() - began:.0f} s, {time.thread_time() - seconds:.0f} s of the core"
            print(step, round(float(loss.detach()), 3), figures, spent, flush=True)
            save_state(folder / "tower.pt", dense, chain, step)


def main() -> None:
    """Train the tower."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=BUILD / "tower")
    parser.add_argument("--pictures", type=Path, default=BUILD / "corpus")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--workers", type=int, default=0, help="processes that prepare the steps")
    parser.add_argument("--rate", type=float, default=Recipe.rate)
    parser.add_argument("--matrix-rate", type=float, default=Recipe.matrix_rate)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    recipe = Recipe(rate=arguments.rate, matrix_rate=arguments.matrix_rate)
    train(
        recipe,
        arguments.folder,
        pictures_in=arguments.pictures,
        limit=arguments.limit,
        device=arguments.device,
        workers=arguments.workers,
    )


if __name__ == "__main__":
    main()
