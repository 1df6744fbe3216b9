"""Vectors as they leave a model: float32, of unit length, checked before they are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch


def unit(rows: torch.Tensor) -> NDArray[np.float32]:
    """[n, d] scaled to length one in fp32, whatever precision they were computed in; a zero row stays zero."""
    from torch.nn.functional import normalize

    return np.asarray(normalize(rows.float(), dim=-1).cpu().numpy(), np.float32)


def usable(rows: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which rows [n, d] are finite and of unit length: bool [n].

    An overflow gives NaN and a broken model zeros. Some indexes accept both and then return wrong neighbors.
    """
    lengths = np.linalg.norm(rows, axis=1)
    return np.asarray(np.isfinite(lengths) & (np.abs(lengths - 1) < 1e-3), np.bool_)
