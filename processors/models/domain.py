"""Whether a picture is like those that a model was trained on, by the model's own features of it.

The features of the training world are described by their mean and covariance; a picture is outside if its Mahalanobis
distance exceeds that of almost all held-out pictures (Lee et al. 2018, "A simple unified framework for detecting
out-of-distribution samples"). The file is optional: weights that were trained on the whole world have none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from processors.errors import WrongWeights

if TYPE_CHECKING:
    import torch

DOMAIN_FILE = "domain.safetensors"
LAYERS = (2, 4)
"""Hidden states of a vision tower whose means over the patches are its features; 0 is the input of the first layer."""
RIDGE = 1e-4
"""Share of the mean variance that is added to every variance, so that features that never vary divide by no zero."""


@dataclass(frozen=True, slots=True)
class Domain:
    """The training world's features: `mean` [d], `whitening` [d, d], and the greatest distance of a picture in it."""

    mean: NDArray[np.float32]
    whitening: NDArray[np.float32]
    limit: float

    @classmethod
    def fit(cls, features: NDArray[np.float32], held_out: NDArray[np.float32], outside_share: float) -> Self:
        """From features [n, d] of pictures of the world; `outside_share` of the `held_out` ones lie beyond the limit.

        Raises numpy's LinAlgError for a covariance that cannot be inverted.
        """
        mean, covariance = features.mean(axis=0), np.cov(features.astype(np.float64), rowvar=False)
        covariance += RIDGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
        whitening = np.linalg.inv(np.linalg.cholesky(covariance)).T
        # safetensors stores the bytes of a transposed view as if it were not transposed
        world = cls(np.asarray(mean, np.float32), np.ascontiguousarray(whitening, np.float32), 0.0)
        return cls(world.mean, world.whitening, float(np.quantile(world.distances(held_out), 1 - outside_share)))

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """The domain beside the weights in `folder`; None without one. Raises `WrongWeights` for a damaged file."""
        path = folder / DOMAIN_FILE
        if not path.is_file():
            return None
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            stored = load_file(path)
            mean, whitening, limit = stored["mean"], stored["whitening"], float(stored["limit"][0])
        except (SafetensorError, KeyError, IndexError) as error:
            raise WrongWeights(f"{path}: damaged; install or pull the weights again: {error}") from error
        return cls(np.asarray(mean, np.float32), np.asarray(whitening, np.float32), limit)

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save_file

        limit = np.array([self.limit], np.float32)
        save_file({"mean": self.mean, "whitening": self.whitening, "limit": limit}, folder / DOMAIN_FILE)

    def distances(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mahalanobis distances [n] of features [n, d]."""
        return np.asarray(np.linalg.norm((features - self.mean) @ self.whitening, axis=1), np.float32)

    def outside(self, features: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which of the pictures with features [n, d] are not of this world."""
        return self.distances(features) > self.limit


def patch_means(hidden_states: Sequence[torch.Tensor]) -> NDArray[np.float32]:
    """A vision tower's features [n, len(LAYERS) * width], from all its hidden states [n, 1 + patches, width]."""
    import torch

    return np.asarray(torch.cat([hidden_states[layer][:, 1:].mean(1) for layer in LAYERS], 1).float().cpu().numpy())
