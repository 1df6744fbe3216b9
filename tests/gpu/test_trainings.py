"""A step of each training gives the same losses on the device and on a CPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tinyworld import pretrain_tower, train_joint
from tinyworld.corpus import Corpus, build, load
from tinyworld.dense_heads import DenseHeads
from tinyworld.joint_model import JointModel
from tinyworld.patch_truth import on_device
from tinyworld.rendered_set import render_set
from tinyworld.tower import TOP, Geometry, Tower
from tinyworld.train_sam import Phase, Recipe, SamTraining
from tinyworld.train_yolo import Phase as YoloPhase
from tinyworld.train_yolo import Recipe as YoloRecipe
from tinyworld.train_yolo import YoloTraining

RELATIVE, ABSOLUTE = 0.03, 0.01
"""Both compute in bf16, but round sums in another order."""


def near(losses: dict[str, float]) -> dict[str, Any]:
    return {name: pytest.approx(value, rel=RELATIVE, abs=ABSOLUTE) for name, value in losses.items()}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("corpus")
    build(folder, scenes=24, seed=1)
    return load(folder)


def test_a_step_of_sam_and_one_of_yolo(device: str, tmp_path: Path) -> None:
    scenes = render_set(tmp_path, 8, seed=1)
    phase = Phase(64, 8, 4, 2, 1e-3)
    sam = [SamTraining(Recipe(phases=(phase,)), phase, scenes, device=where) for where in (device, "cpu")]
    yolo = [YoloTraining(YoloRecipe(phases=(YoloPhase(96, 4, 4),)), scenes, device=where) for where in (device, "cpu")]
    for here, there in (sam, yolo):
        for step in range(2):
            ours, theirs = here.advance(step), there.advance(step)
            assert ours == near(theirs)
        assert {tensor.device.type for tensor in here.average.state_dict().values()} == {device}


@pytest.mark.parametrize("step", [0, 1, 8, 9], ids=["scenes", "clip", "crops", "clip's crops"])
def test_the_losses_of_every_head(device: str, step: int, corpus: Corpus) -> None:
    recipe = replace(train_joint.Recipe(), steps=10, scenes=3, clip_scenes=3, crops=4, match_from=0)
    losses = []
    for where in (device, "cpu"):
        torch.manual_seed(1)
        model = JointModel(Geometry()).to(where)
        with torch.autocast(where, torch.bfloat16):
            parts = train_joint.losses(model, train_joint.sample_step(corpus, recipe, step), recipe, step)
        sum(parts.values(), torch.zeros((), device=where)).backward()  # type: ignore[no-untyped-call]
        for optimizer in train_joint.optimizers(model, recipe):
            optimizer.step()
        assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())
        losses.append({name: float(value.detach()) for name, value in parts.items()})
    here, there = losses
    assert here == near(there)


@pytest.mark.parametrize("step", [0, 1], ids=["windows", "scenes"])
def test_the_losses_of_patches(device: str, step: int, corpus: Corpus) -> None:
    recipe = pretrain_tower.Recipe(window_steps=1, scene_steps=1, windows=4, scenes=2)
    images, truth, (row, column) = pretrain_tower.sample_step(corpus, recipe, step)
    losses = []
    for where in (device, "cpu"):
        torch.manual_seed(1)
        dense = DenseHeads(Tower(Geometry())).to(where)
        with torch.autocast(where, torch.bfloat16):
            tokens = dense.tower(images.to(where), row=TOP + row, column=column)
            loss = dense.losses(dense.tower.norm(tokens), on_device(where, truth))
        losses.append({"patches": float(loss.detach())})
    here, there = losses
    assert here == near(there)
