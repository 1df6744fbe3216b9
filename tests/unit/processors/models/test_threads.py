"""A worker computes with its share of the cores."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from processors.cores import cores
from processors.models import threads


@pytest.fixture
def alone() -> Iterator[None]:
    yield
    threads.share_with(1)
    threads.apply()


@pytest.mark.usefixtures("alone")
def test_workers_share_the_cores_and_wait_passively() -> None:
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    assert threads.apply() == torch.get_num_threads() == cores()
    threads.share_with(2)
    assert threads.apply() == torch.get_num_threads() == max(cores() // 2, 1)
    threads.share_with(1000)
    assert threads.apply() == torch.get_num_threads() == 1
