"""Small models of the real architectures at seeded random weights, in the folders' real format; built once."""

from __future__ import annotations

from pathlib import Path

import pytest

from processors.models import torch_threads  # noqa: F401 - sets OpenMP's waiting before torch is imported


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders by role; weights are spread wide, so that different pictures give different answers."""
    from bench.weights import SMALL, build

    return build(tmp_path_factory.mktemp("weights"), SMALL, seed=7, range_=0.2)
