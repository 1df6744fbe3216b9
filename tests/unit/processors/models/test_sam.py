"""The segmenter's adapter: the shipped checkpoint, published files, and what is no checkpoint."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from processors.errors import WrongWeights
from processors.models.sam import Geometry, Segmenter, build
from tinyworld.evaluate_segment import CHECKPOINT
from tinyworld.evaluation_scenes import evaluation_scene
from tinyworld.metrics import mask_iou
from tinyworld.render import render
from tinyworld.scenes import Thing, sample_scene


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter.load(CHECKPOINT)


def test_a_box_gives_its_thing_in_the_pictures_own_pixels(segmenter: Segmenter) -> None:
    _, rendered = evaluation_scene(8, 7)
    masks, expected = segmenter.masks_in_boxes(rendered.image, rendered.boxes)
    assert masks.shape == rendered.masks.shape
    assert masks.dtype == np.bool_
    assert expected.shape == (len(rendered.boxes),)
    reached = [mask_iou(mask, truth) for mask, truth in zip(masks, rendered.masks, strict=True)]
    assert min(reached) > 0.7


def test_a_larger_picture_gives_the_same_masks_larger(segmenter: Segmenter) -> None:
    _, rendered = evaluation_scene(8, 5)
    twice = rendered.image.repeat(2, axis=0).repeat(2, axis=1)
    masks, _ = segmenter.masks_in_boxes(rendered.image, rendered.boxes)
    larger, _ = segmenter.masks_in_boxes(twice, rendered.boxes * 2)
    for mask, double in zip(masks, larger, strict=True):
        assert mask_iou(mask, double[::2, ::2]) > 0.9


def test_no_boxes_no_masks(segmenter: Segmenter) -> None:
    masks, expected = segmenter.masks_in_boxes(np.zeros((24, 32, 3), np.uint8), np.zeros((0, 4), np.float32))
    assert masks.shape == (0, 24, 32)
    assert len(expected) == 0


def test_the_generator_finds_a_large_thing_at_its_default_thresholds(segmenter: Segmenter) -> None:
    rng = np.random.default_rng(8)
    circle = Thing("blue", "circle", x=0.45, y=0.5, size=0.4)
    rendered = render(replace(sample_scene(rng, count=1, style="cartoon"), things=(circle,)), rng=rng)
    records = segmenter.segment_everything(rendered.image)
    assert max(mask_iou(record["segmentation"], rendered.masks[0]) for record in records) > 0.85


def test_bf16_agrees(segmenter: Segmenter) -> None:
    _, rendered = evaluation_scene(8, 9)
    masks, expected = segmenter.masks_in_boxes(rendered.image, rendered.boxes)
    half = Segmenter.load(CHECKPOINT, precision="bf16")
    rough, rough_expected = half.masks_in_boxes(rendered.image, rendered.boxes)
    assert min(mask_iou(left, right) for left, right in zip(masks, rough, strict=True)) > 0.9
    assert np.abs(expected - rough_expected).max() < 0.05


def test_the_reference_is_answered_as_shipped(segmenter: Segmenter) -> None:
    segmenter.check_reference()


def test_other_weights_fail_the_reference(tmp_path: Path, segmenter: Segmenter) -> None:
    folder = Path(shutil.copytree(CHECKPOINT, tmp_path / "sam"))
    described = json.loads((folder / "sightline.json").read_text())
    torch.manual_seed(0)
    geometry = msgspec.json.decode((folder / "geometry.json").read_bytes(), type=Geometry)
    untrained = Segmenter(build(geometry), folder / "model.safetensors", device="cpu", precision="fp32")
    with pytest.raises(WrongWeights, match="wrong mask"):
        untrained.check_reference()
    (folder / "sightline.json").write_text(json.dumps(described | {"revision": "0" * 12}))
    with pytest.raises(WrongWeights, match="revision"):
        Segmenter.load(folder).check_reference()


def test_weights_that_do_not_fit_their_geometry_are_named(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(CHECKPOINT, tmp_path / "sam"))
    geometry = json.loads((folder / "geometry.json").read_text())
    (folder / "geometry.json").write_text(json.dumps(geometry | {"encoder_depth": geometry["encoder_depth"] + 1}))
    with pytest.raises(WrongWeights, match="does not fit"):
        Segmenter.load(folder)
    (folder / "geometry.json").write_text(json.dumps(geometry | {"surprise": 1}))
    with pytest.raises(WrongWeights, match="surprise"):
        Segmenter.load(folder)


def test_missing_and_damaged_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(WrongWeights, match="geometry"):
        Segmenter.load(tmp_path)
    shutil.copy(CHECKPOINT / "geometry.json", tmp_path)
    with pytest.raises(WrongWeights, match="safetensors"):
        Segmenter.load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(WrongWeights, match="safetensors"):
        Segmenter.load(tmp_path)


class Hostile:
    """Touches a file when unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return Path.touch, (self.target,)


def test_a_pickle_that_runs_code_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save({"image_encoder.pos_embed": Hostile(tmp_path / "ran")}, tmp_path / "sam.pth")
    with pytest.raises(WrongWeights, match="refused by safe loading"):
        Segmenter.load(tmp_path / "sam.pth")
    assert not (tmp_path / "ran").exists()


def test_a_published_file_is_told_by_its_encoder(tmp_path: Path) -> None:
    """SAM ViT-B in its published shape, with weights from a seed: 94 M parameters, as the registry builds it."""
    from segment_anything import sam_model_registry

    torch.manual_seed(0)
    theirs = sam_model_registry["vit_b"]()
    torch.save(theirs.state_dict(), tmp_path / "sam_vit_b.pth")
    ours = Segmenter.load(tmp_path / "sam_vit_b.pth")
    assert ours.image_size == 1024
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(tensor, ours.model.state_dict()[name])


def test_an_unknown_pth_is_refused(tmp_path: Path) -> None:
    torch.save({"image_encoder.pos_embed": torch.zeros(1, 4, 4, 32)}, tmp_path / "other.pth")
    with pytest.raises(WrongWeights, match="geometry"):
        Segmenter.load(tmp_path / "other.pth")
