"""What is true of every patch of a picture in the corpus, and the pictures as the trainings take them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tinyworld.captions import LEAST_NAMED_SHARE
from tinyworld.corpus import COLUMNS, MOST, ROWS, View
from tinyworld.dense_heads import RELATION_CLASSES
from tinyworld.scenes import APART, COLORS, LEVEL, SHAPES


def patch_truth(view: View, rows: np.ndarray, flips: np.ndarray) -> dict[str, np.ndarray]:
    """The truth per patch [n, 12, 16] of the pictures `rows`, mirrored where `flips`.

    `shape`, `color`, `rank` and `next` are classes, of which the last is background; `way` [n, 12, 16, 2] leads from
    the patch to its thing's center, `place` [n, 12, 16, 2] is the center.
    """
    owner = np.asarray(view.patches[rows]).astype(int)
    there = owner >= 0
    safe = np.maximum(owner, 0).reshape(len(rows), -1)

    def of_owner(part: np.ndarray) -> np.ndarray:
        return np.take_along_axis(part, safe, 1).reshape(owner.shape)

    def pick(part: np.ndarray) -> np.ndarray:
        return of_owner(np.asarray(part[rows]))

    shape = np.where(there, pick(view.shapes), len(SHAPES))
    color = np.where(there, pick(view.colors), len(COLORS))
    across, down = (np.arange(COLUMNS) + 0.5) / COLUMNS, (np.arange(ROWS) + 0.5) / ROWS
    way = np.stack([pick(view.x) - across[None, None], pick(view.y) - down[None, :, None]], -1) * 4
    rank, following = (of_owner(part) for part in order_and_relations(view, rows, flips))
    center = np.stack([pick(view.x), pick(view.y)], -1) * 2 - 1
    truth = {
        "shape": shape,
        "color": color,
        "rank": np.where(there, rank, MOST),
        "next": np.where(there, following, RELATION_CLASSES),
        "way": np.where(there[..., None], way, 0).astype(np.float32),
        "place": np.where(there[..., None], center, 0).astype(np.float32),
    }
    return mirrored(truth, flips)


def order_and_relations(view: View, rows: np.ndarray, flips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each thing [n, 4]: how many named things are further left, and its relation to the next on the right.

    The last relation means that there is no thing on the right. Things that captions do not name count as background.
    """
    x, y = np.asarray(view.x[rows]), np.asarray(view.y[rows])
    x = np.where(flips[:, None], 1 - x, x)
    named = (np.asarray(view.colors[rows]) >= 0) & (np.asarray(view.visible[rows]) >= LEAST_NAMED_SHARE)
    rank = (named[:, None, :] & (x[:, None, :] < x[:, :, None])).sum(2)
    right = np.where(named[:, None, :] & (x[:, None, :] > x[:, :, None]), x[:, None, :], np.inf)
    rise = np.take_along_axis(y, right.argmin(2), 1) - y
    border = (LEVEL + APART) / 2
    following = np.select([rise > border, rise < -border], [0, 1], 2)
    following = np.where(np.isinf(right.min(2)), RELATION_CLASSES - 1, following)
    return np.where(named, rank, MOST), np.where(named, following, RELATION_CLASSES)


def mirrored(truth: dict[str, np.ndarray], flips: np.ndarray) -> dict[str, np.ndarray]:
    """The truth of mirrored pictures."""
    out = {}
    for name, value in truth.items():
        where = flips.reshape(-1, *[1] * (value.ndim - 1))
        out[name] = np.where(where, value[:, :, ::-1], value)
    for name in ("way", "place"):  # the horizontal part changes its sign, the vertical one does not
        out[name] = out[name] * np.where(flips, -1, 1)[:, None, None, None] ** np.array([1, 0])
    return out


def scene_truth(view: View, rows: np.ndarray, flips: np.ndarray) -> dict[str, Tensor]:
    """The truth of whole pictures for all dense heads, patches in one row [n, 192]."""
    tensors = flattened(patch_truth(view, rows, flips))
    tensors["kinds"] = torch.from_numpy(kinds_present(view, rows))
    tensors["style"] = torch.from_numpy(np.asarray(view.styles[rows]).astype(np.float32))
    return tensors


def flattened(truth: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """Maps of patches as rows."""
    rows = {name: torch.from_numpy(np.ascontiguousarray(value)).flatten(1, 2) for name, value in truth.items()}
    return {name: row.float() if row.is_floating_point() else row for name, row in rows.items()}


def kinds_present(view: View, rows: np.ndarray) -> np.ndarray:
    """Which color-and-shape pairs are at least half visible, [n, 48]."""
    present = np.zeros((len(rows), len(COLORS) * len(SHAPES)), np.float32)
    colors, shapes, visible = (np.asarray(part[rows]) for part in (view.colors, view.shapes, view.visible))
    for slot in range(MOST):
        there = (colors[:, slot] >= 0) & (visible[:, slot] >= 0.5)
        kind = colors[:, slot].astype(int) * len(SHAPES) + shapes[:, slot]
        present[np.flatnonzero(there), kind[there]] = 1
    return present


def augmented_pictures(view: View, rows: np.ndarray, flips: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Normalized pictures [n, 3, 96, 128], mirrored where `flips`, slightly darker or brighter at random."""
    images = np.asarray(view.images[rows]).astype(np.float32)
    images *= rng.uniform(0.92, 1.08, (len(rows), 1, 1, 3)).astype(np.float32) / 127.5
    images = np.where(flips[:, None, None, None], images[:, :, ::-1], images) - 1
    return np.ascontiguousarray(np.clip(images, -1, 1).transpose(0, 3, 1, 2))


def on_device(device: torch.device | str, truth: dict[str, Tensor]) -> dict[str, Tensor]:
    """The truth on a device."""
    return {name: tensor.to(device) for name, tensor in truth.items()}
