"""Teaches the shared tower what every patch shows: windows around things first, whole scenes afterwards.

    python -m tinyworld.train_tower [--device cpu] [--workers N]

Shape is the cost of this world (colour is learned in a hundred steps, shape needs thousands), so it is paid here,
once, with labels for every patch: a thousand times more supervision a picture than a caption gives.
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
from torch.nn import functional

from tinyworld.ahead import made_ahead
from tinyworld.captions import HALF, RELATIONS
from tinyworld.corpus import BUILD, COLUMNS, MOST, PATCH, ROWS, Corpus, View, load
from tinyworld.scenes import APART, COLOURS, LEVEL, SHAPES
from tinyworld.tower import Geometry, Tower

TOP = (Geometry().side - ROWS) // 2
"""The row of the full square at which a 4:3 picture begins."""
WINDOW = 8
NEXT = len(RELATIONS) + 1
"""Each relation, and none for the rightmost."""


@dataclass(frozen=True)
class Recipe:
    """All that decides the result besides the corpus: steps on windows, steps on scenes, batches, rates."""

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


class Dense(nn.Module):
    """Linear heads on a tower. For each patch the shape and colour of its thing, the way to its middle, where that is,
    how many named things stand further left, and how it stands to the next on the right, as captions say it; on token 0
    which colour-and-shape pairs are there, and the style."""

    def __init__(self, tower: Tower) -> None:
        super().__init__()
        width = tower.geometry.width
        self.tower = tower
        self.shape, self.colour = nn.Linear(width, len(SHAPES) + 1), nn.Linear(width, len(COLOURS) + 1)
        self.way = nn.Linear(width, 2)
        self.place, self.rank, self.next = nn.Linear(width, 2), nn.Linear(width, MOST + 1), nn.Linear(width, NEXT + 1)
        self.kinds, self.style = nn.Linear(width, len(SHAPES) * len(COLOURS)), nn.Linear(width, 1)

    def losses(self, tokens: Tensor, truth: dict[str, Tensor]) -> Tensor:
        """The weighted sum of all losses; `tokens` are the tower's after its norm."""
        patches, first = tokens[:, 1:], tokens[:, 0]
        loss = nearly(self.shape(patches), truth["shape"]) + 0.5 * nearly(self.colour(patches), truth["colour"])
        there = (truth["shape"] < len(SHAPES)).float()[..., None]
        way = self.way(patches).float()
        loss = loss + 2.0 * ((way - truth["way"]).abs() * there).sum() / there.sum().clamp(min=1)
        if "rank" in truth:
            place = ((self.place(patches).float() - truth["place"]).abs() * there).sum() / there.sum().clamp(min=1)
            loss = loss + 2.0 * place
            loss = (
                loss + 0.7 * nearly(self.rank(patches), truth["rank"]) + 1.5 * nearly(self.next(patches), truth["next"])
            )
        if "kinds" in truth:
            kinds = functional.binary_cross_entropy_with_logits(self.kinds(first).float(), truth["kinds"])
            style = functional.binary_cross_entropy_with_logits(self.style(first).float()[:, 0], truth["style"])
            loss = loss + 4.0 * kinds + 0.2 * style
        total: Tensor = loss
        return total


def nearly(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy a patch, background patches weighing a tenth; the background is the last class."""
    weight = torch.ones(logits.shape[-1], device=logits.device)
    weight[-1] = 0.1
    return functional.cross_entropy(logits.flatten(0, 1).float(), target.flatten().long(), weight)


def patch_truth(view: View, rows: np.ndarray, flips: np.ndarray) -> dict[str, np.ndarray]:
    """Per patch [n, 12, 16] of the scenes, mirrored where `flips` says so: shape, colour, rank and next (the last
    class of each is background), the way to the middle and its place [n, 12, 16, 2]."""
    owner = np.asarray(view.patches[rows]).astype(int)
    there = owner >= 0
    safe = np.maximum(owner, 0).reshape(len(rows), -1)

    def of_owner(part: np.ndarray) -> np.ndarray:
        return np.take_along_axis(part, safe, 1).reshape(owner.shape)

    def pick(part: np.ndarray) -> np.ndarray:
        return of_owner(np.asarray(part[rows]))

    shape = np.where(there, pick(view.shapes), len(SHAPES))
    colour = np.where(there, pick(view.colours), len(COLOURS))
    across, down = (np.arange(COLUMNS) + 0.5) / COLUMNS, (np.arange(ROWS) + 0.5) / ROWS
    way = np.stack([pick(view.x) - across[None, None], pick(view.y) - down[None, :, None]], -1) * 4
    rank, following = (of_owner(part) for part in standing(view, rows, flips))
    place = np.stack([pick(view.x), pick(view.y)], -1) * 2 - 1
    truth = {
        "shape": shape,
        "colour": colour,
        "rank": np.where(there, rank, MOST),
        "next": np.where(there, following, NEXT),
        "way": np.where(there[..., None], way, 0).astype(np.float32),
        "place": np.where(there[..., None], place, 0).astype(np.float32),
    }
    return mirrored(truth, flips)


def standing(view: View, rows: np.ndarray, flips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each thing [n, 4] how many named ones stand further left, and how it stands to the next on the right (the last
    value: there is none); things that captions do not name count as background."""
    x, y = np.asarray(view.x[rows]), np.asarray(view.y[rows])
    x = np.where(flips[:, None], 1 - x, x)
    named = (np.asarray(view.colours[rows]) >= 0) & (np.asarray(view.visible[rows]) >= HALF)
    rank = (named[:, None, :] & (x[:, None, :] < x[:, :, None])).sum(2)
    right = np.where(named[:, None, :] & (x[:, None, :] > x[:, :, None]), x[:, None, :], np.inf)
    rise = np.take_along_axis(y, right.argmin(2), 1) - y
    border = (LEVEL + APART) / 2
    following = np.select([rise > border, rise < -border], [0, 1], 2)
    following = np.where(np.isinf(right.min(2)), NEXT - 1, following)
    return np.where(named, rank, MOST), np.where(named, following, NEXT)


def pictures(view: View, rows: np.ndarray, flips: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Normalised pictures [n, 3, 96, 128], some mirrored, with a little more or less light."""
    images = np.asarray(view.images[rows]).astype(np.float32)
    images *= rng.uniform(0.92, 1.08, (len(rows), 1, 1, 3)).astype(np.float32) / 127.5
    images = np.where(flips[:, None, None, None], images[:, :, ::-1], images) - 1
    return np.ascontiguousarray(np.clip(images, -1, 1).transpose(0, 3, 1, 2))


def mirrored(truth: dict[str, np.ndarray], flips: np.ndarray) -> dict[str, np.ndarray]:
    """The truth of mirrored pictures."""
    out = {}
    for name, value in truth.items():
        where = flips.reshape(-1, *[1] * (value.ndim - 1))
        out[name] = np.where(where, value[:, :, ::-1], value)
    for name in ("way", "place"):  # across changes its sign, down does not
        out[name] = out[name] * np.where(flips, -1, 1)[:, None, None, None] ** np.array([1, 0])
    return out


def scene_batch(corpus: Corpus, rng: np.random.Generator, count: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Whole scenes and their truth."""
    view = (corpus.a, corpus.b, corpus.c)[int(rng.integers(3))]
    rows, flips = np.sort(rng.choice(len(corpus), count, replace=False)), rng.random(count) < 0.5
    tensors = scene_truth(view, rows, flips)
    return torch.from_numpy(pictures(view, rows, flips, rng)), tensors


def scene_truth(view: View, rows: np.ndarray, flips: np.ndarray) -> dict[str, Tensor]:
    """All that a whole picture's tokens are taught, patches in one row [n, 192]."""
    tensors = flat(patch_truth(view, rows, flips))
    tensors["kinds"] = torch.from_numpy(kinds_present(view, rows))
    tensors["style"] = torch.from_numpy(np.asarray(view.styles[rows]).astype(np.float32))
    return tensors


def flat(truth: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """Maps of patches as rows."""
    rows = {name: torch.from_numpy(np.ascontiguousarray(value)).flatten(1, 2) for name, value in truth.items()}
    return {name: row.float() if row.is_floating_point() else row for name, row in rows.items()}


def kinds_present(view: View, rows: np.ndarray) -> np.ndarray:
    """Which colour-and-shape pairs are at least half seen, [n, 48]."""
    present = np.zeros((len(rows), len(COLOURS) * len(SHAPES)), np.float32)
    colours, shapes, seen = (np.asarray(part[rows]) for part in (view.colours, view.shapes, view.visible))
    for slot in range(MOST):
        there = (colours[:, slot] >= 0) & (seen[:, slot] >= 0.5)
        kind = colours[:, slot].astype(int) * len(SHAPES) + shapes[:, slot]
        present[np.flatnonzero(there), kind[there]] = 1
    return present


def window_batch(
    corpus: Corpus, rng: np.random.Generator, count: int
) -> tuple[Tensor, dict[str, Tensor], tuple[int, int]]:
    """Windows of 8 x 8 patches; of the places where one may lie, a batch shares one, and takes scenes with most to
    see there."""
    view = (corpus.a, corpus.b, corpus.c)[int(rng.integers(3))]
    row, column = int(rng.integers(ROWS - WINDOW + 1)), int(rng.integers(COLUMNS - WINDOW + 1))
    drawn = rng.choice(len(corpus), min(count * 3, len(corpus)), replace=False)
    flips = rng.random(len(drawn)) < 0.5
    seen = np.asarray(view.patches[drawn]) >= 0
    seen = np.where(flips[:, None, None], seen[:, :, ::-1], seen)
    most = np.argsort(-seen[:, row : row + WINDOW, column : column + WINDOW].sum(axis=(1, 2)))[:count]
    rows, flips = drawn[most], flips[most]
    truth = patch_truth(view, rows, flips)
    local = ("shape", "colour", "way")  # what else stands in the picture cannot be told from a window
    tensors = flat({name: truth[name][:, row : row + WINDOW, column : column + WINDOW] for name in local})
    y, x = row * PATCH, column * PATCH
    images = pictures(view, rows, flips, rng)[:, :, y : y + WINDOW * PATCH, x : x + WINDOW * PATCH]
    return torch.from_numpy(np.ascontiguousarray(images)), tensors, (row, column)


def optimisers(module: nn.Module, rate: float, matrix_rate: float) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al. 2024) for the matrices of the blocks, AdamW for all else."""
    matrices = [p for n, p in module.named_parameters() if "blocks" in n and p.ndim == 2 and p.requires_grad]
    taken = {id(p) for p in matrices}
    rest = [p for p in module.parameters() if id(p) not in taken and p.requires_grad]
    adamw = torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    if not matrix_rate:
        return [torch.optim.AdamW(rest + matrices, lr=rate, betas=(0.9, 0.98), weight_decay=0.01)]
    muon = torch.optim.Muon(matrices, lr=matrix_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    return [muon, adamw]


def schedule(step: int, steps: int, warmup: int = 100) -> float:
    """Linear up, flat, and over the last half a cosine down to a fiftieth."""
    if step < warmup:
        return (step + 1) / warmup
    late = max(0.0, (step / steps - 0.5) / 0.5)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(late, 1.0)))


def on(device: torch.device | str, truth: dict[str, Tensor]) -> dict[str, Tensor]:
    """The truth on a device."""
    return {name: tensor.to(device) for name, tensor in truth.items()}


@torch.no_grad()
def watch(dense: Dense, corpus: Corpus) -> dict[str, float]:
    """Shares of object patches with the right shape and colour, and of scenes with the right style, on view a."""
    dense.eval()
    rows = np.arange(128)
    truth = patch_truth(corpus.a, rows, np.zeros(128, bool))
    plain = np.random.default_rng(0)
    device = dense.style.weight.device
    images = torch.from_numpy(pictures(corpus.a, rows, np.zeros(128, bool), plain)).to(device)
    with torch.autocast(device.type, torch.bfloat16):
        tokens = dense.tower.norm(dense.tower(images, row=TOP))
        shape = dense.shape(tokens[:, 1:]).argmax(-1).reshape(truth["shape"].shape).cpu().numpy()
        colour = dense.colour(tokens[:, 1:]).argmax(-1).reshape(truth["shape"].shape).cpu().numpy()
        rank = dense.rank(tokens[:, 1:]).argmax(-1).reshape(truth["shape"].shape).cpu().numpy()
        following = dense.next(tokens[:, 1:]).argmax(-1).reshape(truth["shape"].shape).cpu().numpy()
        style = (dense.style(tokens[:, 0])[:, 0] > 0).cpu().numpy() == np.asarray(corpus.a.styles[rows])
        kinds = ((dense.kinds(tokens[:, 0]) > 0).cpu().numpy() == kinds_present(corpus.a, rows)).all(1)
    there = truth["shape"] < len(SHAPES)
    dense.train()
    return {
        "shape": float((shape == truth["shape"])[there].mean()),
        "colour": float((colour == truth["colour"])[there].mean()),
        "rank": float((rank == truth["rank"])[there].mean()),
        "next": float((following == truth["next"])[there].mean()),
        "style": float(style.mean()),
        "all_kinds": float(kinds.mean()),
    }


def drawn(corpus: Corpus, recipe: Recipe, step: int) -> tuple[Tensor, dict[str, Tensor], tuple[int, int]]:
    """Pictures of a step, what is true of their patches, and the patch at which they begin."""
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
    """Trains into `folder` (tower.pt), resuming from what lies there; `limit` ends it early, `workers` processes
    prepare the steps."""
    torch.set_num_threads(1)
    torch.manual_seed(recipe.seed)
    corpus, held = load(pictures_in), load(BUILD / "corpus-watch")
    dense = Dense(Tower(Geometry()))
    first = pictures(corpus.a, np.arange(256), np.zeros(256, bool), np.random.default_rng(0))
    pieces = torch.from_numpy(first).unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH)
    dense.tower.whiten(pieces.permute(0, 2, 3, 1, 4, 5).reshape(-1, 3 * PATCH**2))
    dense.to(device)
    chosen = optimisers(dense, recipe.rate, recipe.matrix_rate)
    state, step = folder / "tower.pt", 0
    if state.exists():
        kept = torch.load(state, map_location=device, weights_only=True)
        dense.load_state_dict(kept["model"])
        for optimiser, saved in zip(chosen, kept["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        step = kept["step"]
    rates = [recipe.matrix_rate, recipe.rate] if len(chosen) == 2 else [recipe.rate]
    began, seconds = time.time(), time.thread_time()
    steps = range(step, min(recipe.steps, limit or recipe.steps))
    for images, truth, (row, column) in made_ahead(partial(drawn, corpus, recipe), steps, workers=workers):
        with torch.autocast(device, torch.bfloat16):
            tokens = dense.tower.norm(dense.tower(images.to(device), row=TOP + row, column=column))
            loss = dense.losses(tokens, on(device, truth))
        for optimiser, rate in zip(chosen, rates, strict=True):
            optimiser.zero_grad()
            optimiser.param_groups[0]["lr"] = rate * schedule(step, recipe.steps)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(dense.parameters(), 1.0)
        for optimiser in chosen:
            optimiser.step()
        step += 1
        if step % 100 == 0:
            seen = {name: round(value, 3) for name, value in watch(dense, held).items()}
            spent = f"{time.time() - began:.0f} s, {time.thread_time() - seconds:.0f} s of the core"
            print(step, round(float(loss.detach()), 3), seen, spent, flush=True)
            saved = {"model": dense.state_dict(), "optimisers": [o.state_dict() for o in chosen], "step": step}
            torch.save(saved, state.with_suffix(".part"))
            state.with_suffix(".part").replace(state)


def main() -> None:
    """Trains the tower."""
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
