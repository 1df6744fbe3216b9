"""A worker computes with its share of the cores."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from processors.cores import cores
from processors.models import torch_threads


@pytest.fixture
def alone() -> Iterator[None]:
    yield
    torch_threads.set_worker_count(1)
    torch_threads.apply_thread_count()


@pytest.mark.usefixtures("alone")
def test_workers_share_the_cores_and_wait_passively() -> None:
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    assert torch_threads.apply_thread_count() == torch.get_num_threads() == cores()
    torch_threads.set_worker_count(2)
    assert torch_threads.apply_thread_count() == torch.get_num_threads() == max(cores() // 2, 1)
    torch_threads.set_worker_count(1000)
    assert torch_threads.apply_thread_count() == torch.get_num_threads() == 1
