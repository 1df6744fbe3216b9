"""A training's result depends on its recipe alone, not on the processes that prepare its steps, nor on a stop."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from tinyworld.prefetch import map_in_parts, prefetched
from tinyworld.rendered_set import RenderedSet, render_set
from tinyworld.resumable import run
from tinyworld.train_sam import Phase, Recipe, SamTraining

STEPS = 3
RECIPE = Recipe(phases=(Phase(64, 8, STEPS, 2, 1e-3),), warmup_steps=1, scenes=8)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> RenderedSet:
    return render_set(tmp_path_factory.mktemp("scenes"), RECIPE.scenes, seed=1, moments=0.5)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As in trainings: several threads add up in varying order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def twice(base: int, step: int) -> torch.Tensor:
    return torch.tensor([base, 2 * step])


@pytest.mark.parametrize("workers", [0, 2])
def test_steps_come_in_order_whichever_process_makes_them(workers: int) -> None:
    random = torch.random.get_rng_state()
    steps = list(prefetched(partial(twice, 7), range(5, 30), workers=workers))
    assert [step.tolist() for step in steps] == [[7, 2 * step] for step in range(5, 30)]
    assert torch.equal(torch.random.get_rng_state(), random)
    parts = map_in_parts(list, 10, workers=workers, part=4)
    assert list(parts) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_scenes_are_the_same_whichever_process_renders_them(tmp_path: Path, scenes: RenderedSet) -> None:
    by_two = render_set(tmp_path, RECIPE.scenes, seed=1, moments=0.5, workers=2)
    for name in ("images", "instances", "truth"):
        assert np.array_equal(getattr(by_two, name), getattr(scenes, name))


@pytest.mark.usefixtures("one_thread")
def test_a_stopped_and_resumed_training_gives_the_same_result(tmp_path: Path, scenes: RenderedSet) -> None:
    (phase,) = RECIPE.phases
    whole = SamTraining(RECIPE, phase, scenes, device="cpu")
    assert run(whole, whole.advance, steps=STEPS, state=tmp_path / "whole.pt")
    stopped = SamTraining(RECIPE, phase, scenes, device="cpu")
    assert not run(stopped, stopped.advance, steps=STEPS, state=tmp_path / "state.pt", until=0.0)
    assert run(stopped, stopped.advance, steps=1, state=tmp_path / "state.pt")
    resumed = SamTraining(RECIPE, phase, scenes, device="cpu", workers=1)
    resumed.resume(tmp_path / "state.pt")
    assert resumed.step == 1
    assert run(resumed, resumed.advance, steps=STEPS, state=tmp_path / "state.pt")
    for kind in ("model", "average"):
        for name, tensor in getattr(whole, kind).state_dict().items():
            assert torch.equal(tensor, getattr(resumed, kind).state_dict()[name]), name
