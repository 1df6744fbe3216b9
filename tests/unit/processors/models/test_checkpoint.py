"""Weights that are missing, damaged, of another kind or not those of the card are refused by name."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from processors.errors import WrongWeights
from processors.models.blip import Blip
from processors.models.clip import Clip
from processors.models.itm import Itm
from processors.models.model_card import check_vector, read_card, reference_picture
from processors.models.vit import Vit
from tests.support.pictures import scene

Weights = dict[str, Path]


@pytest.fixture
def copied(weights: Weights, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a role's folder to damage."""
    return lambda role: Path(shutil.copytree(weights[role], tmp_path / role))


def test_missing_weights_name_the_way_out(tmp_path: Path) -> None:
    for load in (Clip.load, Vit.load, Blip.load, Itm.load):
        with pytest.raises(WrongWeights, match="sightline models pull"):
            load(tmp_path / "nothing")
        with pytest.raises(WrongWeights, match="no weights given"):
            load("")


def test_another_architecture_is_refused(weights: Weights) -> None:
    with pytest.raises(WrongWeights, match="CLIPModel; ViTModel is wanted"):
        Vit.load(weights["semantic"])
    with pytest.raises(WrongWeights, match="no pair of towers"):
        Clip.load(weights["visual"])


def test_a_cut_file_is_refused(copied: Callable[[str], Path]) -> None:
    folder = copied("visual")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WrongWeights, match="visual"):
        Vit.load(folder)


def test_a_file_without_a_tensor_is_refused_not_filled_at_random(copied: Callable[[str], Path]) -> None:
    folder = copied("semantic")
    tensors = load_file(folder / "model.safetensors")
    del tensors["visual_projection.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WrongWeights, match=r"lacks 1 tensor of AutoModel, first visual_projection\.weight"):
        Clip.load(folder)


def test_a_plain_checkpoint_without_safetensors_is_read_but_never_run(copied: Callable[[str], Path]) -> None:
    folder = copied("visual")
    before = Vit.load(folder).embed_images([scene(1)])
    tensors = {name: torch.from_numpy(value) for name, value in load_file(folder / "model.safetensors").items()}
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    assert np.array_equal(Vit.load(folder).embed_images([scene(1)]), before)

    torch.save(tensors | {"extra": Bomb(folder / "ran")}, folder / "pytorch_model.bin")
    with pytest.raises(WrongWeights, match="visual"):
        Vit.load(folder)
    assert not (folder / "ran").exists()


class Bomb:
    """Writes a file when it is unpickled by pickle itself."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_the_card_holds_the_weights_to_their_answer(copied: Callable[[str], Path]) -> None:
    folder = copied("visual")
    cv2.imwrite(str(folder / "reference.jpg"), scene(3))
    vit = Vit.load(folder)
    answer = vit.embed_images([reference_picture(folder)])[0]
    card = {"revision": vit.revision, "expected": answer.tolist(), "words": ["red circle", "square"]}
    (folder / "sightline.json").write_text(json.dumps(card))
    Vit.load(folder).check_reference()

    (folder / "sightline.json").write_text(json.dumps(card | {"expected": np.roll(answer, 1).tolist()}))
    with pytest.raises(WrongWeights, match="wrong vector of the reference picture"):
        Vit.load(folder).check_reference()
    (folder / "sightline.json").write_text(json.dumps(card | {"revision": "0" * 12}))
    with pytest.raises(WrongWeights, match="names 000000000000"):
        Vit.load(folder).check_reference()
    (folder / "sightline.json").write_text("{")
    with pytest.raises(WrongWeights, match=r"sightline\.json"):
        Vit.load(folder)


def test_nan_is_no_right_answer(copied: Callable[[str], Path]) -> None:
    folder = copied("visual")
    (folder / "sightline.json").write_text('{"revision": "1", "expected": [1, 0], "words": ["red circle", "a"]}')
    card = read_card(folder)
    assert card is not None
    with pytest.raises(WrongWeights, match="nan"):
        check_vector(folder, card, np.array([np.nan, 0], np.float32))


def test_decode_and_gate_start_without_torch() -> None:
    stages = ", ".join(
        f"processors.stages.{name}" for name in ("decode", "gate", "track", "detect", "embed", "caption")
    )
    code = f"import sys, {stages}; sys.exit(any(name in sys.modules for name in ('torch', 'transformers')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
