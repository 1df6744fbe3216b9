"""Each shipped tower loads from its path alone, offline, through transformers' own classes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from processors.models.preprocess import Preprocessor
from tinyworld.preprocess import padded
from tinyworld.render import render
from tinyworld.scenes import sample_scene

CHECKPOINTS = Path(__file__).parents[3] / "tinyworld" / "checkpoints"
CLASSES = {
    "blip": "BlipForConditionalGeneration",
    "blip_itm": "BlipForImageTextRetrieval",
    "clip": "CLIPModel",
    "vit": "ViTModel",
}


@pytest.mark.parametrize("name", CLASSES)
def test_transformers_loads_it_and_initializes_nothing_at_random(name: str) -> None:
    import transformers

    folder = CHECKPOINTS / name
    assert json.loads((folder / "config.json").read_text())["architectures"] == [CLASSES[name]]
    model, found = getattr(transformers, CLASSES[name]).from_pretrained(
        folder, local_files_only=True, use_safetensors=True, output_loading_info=True
    )
    assert not found["missing_keys"]
    assert not found["mismatched_keys"]
    assert not found["unexpected_keys"]
    assert {str(tensor.dtype) for tensor in model.state_dict().values() if tensor.is_floating_point()} == {
        "torch.float16"
    }
    processor = transformers.AutoProcessor.from_pretrained(folder, local_files_only=True)
    images = getattr(processor, "image_processor", processor)
    assert tuple(images.image_mean) == tuple(images.image_std) == (0.5, 0.5, 0.5)


def test_preprocessing_is_the_same_as_in_training() -> None:
    rng = np.random.default_rng(0)
    wide = render(sample_scene(rng), rng=rng).image
    small = np.ascontiguousarray(wide[40:95, 100:140])
    preprocessed = Preprocessor.from_folder(CHECKPOINTS / "vit", "pad")([wide, small]).numpy()
    assert np.abs(preprocessed - padded([wide, small], 128)).max() < 1e-5
    assert (preprocessed[0, :, :16] == 0).all()


def test_the_manifest_names_every_shipped_file() -> None:
    manifest = json.loads((CHECKPOINTS / "manifest.json").read_text())["files"]
    shipped = [path for path in CHECKPOINTS.rglob("*") if path.is_file() and path.name != "manifest.json"]
    assert set(manifest) == {path.relative_to(CHECKPOINTS).as_posix() for path in shipped}
    for path in shipped:
        stated = manifest[path.relative_to(CHECKPOINTS).as_posix()]
        assert stated["size_bytes"] == path.stat().st_size
        assert stated["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest(), path.name


def test_the_search_is_calibrated_for_these_weights() -> None:
    from processors.models.clip import Clip
    from search.calibrate import load

    calibration = load(CHECKPOINTS / "clip")
    assert calibration is not None
    assert calibration.revision == Clip.load(CHECKPOINTS / "clip").revision
    assert {"text", "matched", "image"} <= set(calibration.curves)
    assert len(calibration.references["semantic"]) >= 256
