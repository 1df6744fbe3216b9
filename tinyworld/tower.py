"""The vision tower that BLIP, CLIP and ViT share: a plain pre-norm ViT (Dosovitskiy et al. 2021).

It is a module of its own during training, so that the three can share its weights; `tinyworld.export` writes them into
transformers' classes. Three initializations make a small tower learn in minutes: patches are whitened, positions are
sines, and attention starts with similar positions (Trockman and Kolter 2023, "Mimetic initialization").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tinyworld.corpus import PATCH, ROWS, SIZE


@dataclass(frozen=True, slots=True)
class Geometry:
    """The tower's dimensions; `size` and `patch` in pixels."""

    size: int = SIZE
    patch: int = PATCH
    width: int = 128
    depth: int = 4
    heads: int = 4
    inner: int = 384

    @property
    def side(self) -> int:
        """Patches per side."""
        return self.size // self.patch


TOP = (Geometry().side - ROWS) // 2
"""The row of the full square at which a 4:3 picture begins."""


class Block(nn.Module):
    """Attention and a two-layer network, each with a layer norm before it and a residual around it."""

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        width = geometry.width
        self.heads = geometry.heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-5), nn.LayerNorm(width, eps=1e-5)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, geometry.inner), nn.Linear(geometry.inner, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, count, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        # Written out: torch's fused attention for CPUs is two to five times slower at these sizes in bfloat16.
        mixed = torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, -1) @ v
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, count, width))
        deep: Tensor = self.fc2(functional.gelu(self.fc1(self.norm2(x))))
        return x + deep


class Tower(nn.Module):
    """Pixels [n, 3, H, W] to tokens [n, 1 + patches, width]; token 0 sees the whole picture."""

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        self.geometry = geometry
        width, side = geometry.width, geometry.side
        self.patch = nn.Linear(3 * geometry.patch**2, width, bias=False)
        self.token = nn.Parameter(torch.randn(width) * 0.02)
        self.positions = nn.Parameter(torch.cat([torch.zeros(1, width), sine_positions(side, width)]))
        self.early = nn.LayerNorm(width, eps=1e-5)  # only CLIP normalizes its embeddings; the others skip it
        self.blocks = nn.ModuleList(Block(geometry) for _ in range(geometry.depth))
        self.norm = nn.LayerNorm(width, eps=1e-5)
        for block in self.blocks:
            assert isinstance(block, Block)
            initialize_block(block, geometry)

    def forward(self, pixels: Tensor, *, row: int = 0, column: int = 0, early: bool = False) -> Tensor:
        """`row`, `column`: the patch of the full square at which a smaller picture begins."""
        side, patch = self.geometry.side, self.geometry.patch
        batch, _, height, width = pixels.shape
        rows, columns = height // patch, width // patch
        pieces = pixels.view(batch, 3, rows, patch, columns, patch).permute(0, 2, 4, 1, 3, 5)
        x = self.patch(pieces.reshape(batch, rows * columns, -1))
        grid = self.positions[1:].view(side, side, -1)[row : row + rows, column : column + columns]
        first = (self.token + self.positions[0]).expand(batch, 1, -1)
        x = torch.cat([first.to(x.dtype), x + grid.reshape(1, rows * columns, -1).to(x.dtype)], 1)
        if early:
            x = self.early(x)
        for block in self.blocks:
            x = block(x)
        tokens: Tensor = x
        return tokens

    def whiten(self, pieces: Tensor) -> None:
        """Initialize the patch layer with the principal directions of `pieces` [n, 3 * patch²], at equal strength."""
        values, vectors = torch.linalg.eigh(torch.cov(pieces.T.double()))
        width = self.geometry.width
        top = vectors[:, -width:] / torch.sqrt(values[-width:] + 1e-3)
        turn = torch.linalg.qr(
            torch.randn(width, width, dtype=torch.double, generator=torch.Generator().manual_seed(0))
        )
        with torch.no_grad():
            self.patch.weight.copy_((top @ turn[0]).T * 0.5)


def initialize_block(block: Block, geometry: Geometry) -> None:
    """Queries match keys of similar positions, values return slightly negative, residual branches are small."""
    width = geometry.width
    with torch.no_grad():
        for linear in (block.qkv, block.out, block.fc1, block.fc2):
            nn.init.trunc_normal_(linear.weight, std=0.03)
            nn.init.zeros_(linear.bias)
        base = torch.randn(width, width) / np.sqrt(width)
        near = torch.linalg.qr(base)[0]
        block.qkv.weight[:width] = near * 0.7 + torch.randn(width, width) * 0.02
        block.qkv.weight[width : 2 * width] = near * 0.7 + torch.randn(width, width) * 0.02
        turn = torch.linalg.qr(torch.randn(width, width))[0]
        block.qkv.weight[2 * width :] = turn * 0.4 + torch.randn(width, width) * 0.02
        block.out.weight.copy_(-turn.T * 0.4 + torch.randn(width, width) * 0.02)


def sine_positions(side: int, width: int) -> Tensor:
    """Sine and cosine positions of a square grid, [side², width] (Vaswani et al. 2017, in two dimensions)."""
    quarter = width // 4
    rates = 1.0 / (30.0 ** (torch.arange(quarter) / quarter))
    steps = torch.arange(side)[:, None] * rates
    wave = torch.cat([steps.sin(), steps.cos()], 1)
    rows = wave[:, None].expand(side, side, -1)
    columns = wave[None].expand(side, side, -1)
    return torch.cat([rows, columns], 2).reshape(side * side, width) * 0.5
