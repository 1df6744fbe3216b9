"""Checkpoints as the models of the presets are published: names of classes and keys, processors of then."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from processors.errors import WrongWeights
from processors.models.blip import Blip
from processors.models.clip import Clip
from processors.models.input_size import longest_side
from processors.models.model_card import Fit
from processors.models.vit import Vit
from tests.support.pictures import scene

WIDTH, DEPTH, SIDE, PATCH, CLASSES = 32, 2, 32, 8, 5
Tensors = dict[str, NDArray[Any]]

VIT_CONFIG = {
    "_name_or_path": "google/vit-base-patch16-224-in21k",
    "architectures": ["ViTForImageClassification"],
    "attention_probs_dropout_prob": 0.0,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "hidden_size": WIDTH,
    "id2label": {str(number): f"class {number}" for number in range(CLASSES)},
    "label2id": {f"class {number}": number for number in range(CLASSES)},
    "image_size": SIDE,
    "initializer_range": 0.02,
    "intermediate_size": 2 * WIDTH,
    "layer_norm_eps": 1e-12,
    "model_type": "vit",
    "num_attention_heads": 4,
    "num_channels": 3,
    "num_hidden_layers": DEPTH,
    "patch_size": PATCH,
    "qkv_bias": True,
    "transformers_version": "4.13.0.dev0",
}
VIT_PROCESSORS = {
    "of later revisions": {
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": "ViTFeatureExtractor",
        "image_std": [0.5, 0.5, 0.5],
        "resample": 2,
        "rescale_factor": 0.00392156862745098,
        "size": {"height": SIDE, "width": SIDE},
    },
    "of the first revision": {
        "do_normalize": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "size": SIDE,
    },
}


def vit_shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of `model.safetensors` as google published it, for a narrower model."""
    yield "vit.embeddings.cls_token", (1, 1, WIDTH)
    yield "vit.embeddings.position_embeddings", (1, (SIDE // PATCH) ** 2 + 1, WIDTH)
    yield from linear("vit.embeddings.patch_embeddings.projection", (WIDTH, 3, PATCH, PATCH))
    for layer in (f"vit.encoder.layer.{number}" for number in range(DEPTH)):
        for part in ("attention.attention.query", "attention.attention.key", "attention.attention.value"):
            yield from linear(f"{layer}.{part}", (WIDTH, WIDTH))
        yield from linear(f"{layer}.attention.output.dense", (WIDTH, WIDTH))
        yield from linear(f"{layer}.intermediate.dense", (2 * WIDTH, WIDTH))
        yield from linear(f"{layer}.output.dense", (WIDTH, 2 * WIDTH))
        yield from linear(f"{layer}.layernorm_before", (WIDTH,))
        yield from linear(f"{layer}.layernorm_after", (WIDTH,))
    yield from linear("vit.layernorm", (WIDTH,))
    yield from linear("classifier", (CLASSES, WIDTH))


def linear(name: str, weight: tuple[int, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", weight
    yield f"{name}.bias", weight[:1]


def tensors() -> Tensors:
    rng = np.random.default_rng(3)
    return {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in vit_shapes()}


def write(folder: Path, config: object, processor: object, weights: Tensors) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("processor", VIT_PROCESSORS.values(), ids=VIT_PROCESSORS)
def test_the_published_vit_gives_its_bare_model_s_vectors(tmp_path: Path, processor: object) -> None:
    published = write(tmp_path / "published", VIT_CONFIG, processor, tensors())
    bare = {name.removeprefix("vit."): value for name, value in tensors().items() if name.startswith("vit.")}
    expected = write(tmp_path / "bare", VIT_CONFIG | {"architectures": ["ViTModel"]}, processor, bare)
    pictures = [scene(1), scene(2)]
    vectors = Vit.load(published).embed_images(pictures)
    assert vectors.shape == (2, WIDTH)
    assert np.array_equal(vectors, Vit.load(expected).embed_images(pictures))
    assert abs(vectors[0] @ vectors[1]) < 0.9999, "two pictures have two vectors"
    assert longest_side(published) == SIDE


def test_a_head_s_checkpoint_that_lacks_a_layer_is_refused_not_filled_at_random(tmp_path: Path) -> None:
    lacking = {name: value for name, value in tensors().items() if ".layer.1.intermediate" not in name}
    folder = write(tmp_path / "vit", VIT_CONFIG, VIT_PROCESSORS["of later revisions"], lacking)
    with pytest.raises(WrongWeights, match="lacks 2 tensors of ViTModel"):
        Vit.load(folder)


def test_a_head_over_another_model_is_refused(tmp_path: Path) -> None:
    config = VIT_CONFIG | {"architectures": ["ViTMAEForPreTraining"]}
    folder = write(tmp_path / "vit", config, VIT_PROCESSORS["of later revisions"], tensors())
    with pytest.raises(WrongWeights, match="ViTMAEForPreTraining; ViTModel is wanted"):
        Vit.load(folder)


# CLIP and BLIP: pickled tensors with buffers and tied copies that the library no longer saves

MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


def as_published(folder: Path, target: Path, processor: object, *, beside: Tensors) -> Path:
    """A copy of `folder` with its weights in `pytorch_model.bin` and its processor's file of then."""
    shutil.copytree(folder, target)
    tensors = load_file(target / "model.safetensors") | beside
    torch.save({name: torch.from_numpy(value) for name, value in tensors.items()}, target / "pytorch_model.bin")
    (target / "model.safetensors").unlink()
    (target / "processor_config.json").unlink(missing_ok=True)
    (target / "preprocessor_config.json").write_text(json.dumps(processor))
    return target


def test_the_published_clip_gives_the_same_vectors(weights: dict[str, Path], tmp_path: Path) -> None:
    processor = {
        "crop_size": 48,
        "do_center_crop": True,
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "CLIPFeatureExtractor",
        "image_mean": MEAN,
        "image_std": STD,
        "resample": 3,
        "size": 48,
    }
    buffers = {f"{tower}_model.embeddings.position_ids": np.arange(37)[None] for tower in ("text", "vision")}
    published = Clip.load(as_published(weights["semantic"], tmp_path / "clip", processor, beside=buffers))
    expected = Clip.load(weights["semantic"])
    fits: tuple[Fit, ...] = ("pad", "crop")
    for fit in fits:
        assert Clip.load(published.folder, fit=fit).preprocess == Clip.load(weights["semantic"], fit=fit).preprocess
    assert np.array_equal(published.embed_images([scene(1)]), expected.embed_images([scene(1)]))
    assert np.array_equal(published.embed_texts(["a b"]), expected.embed_texts(["a b"]))


def test_the_published_blip_gives_the_same_captions(weights: dict[str, Path], tmp_path: Path) -> None:
    processor = {
        "do_normalize": True,
        "do_resize": True,
        "image_mean": MEAN,
        "image_processor_type": "BlipImageProcessor",
        "image_std": STD,
        "processor_class": "BlipProcessor",
        "resample": 3,
        "size": {"height": 48, "width": 48},
    }
    kept = load_file(weights["caption"] / "model.safetensors")
    beside = {
        "text_decoder.bert.embeddings.position_ids": np.arange(512)[None],
        "text_decoder.cls.predictions.decoder.weight": kept["text_decoder.bert.embeddings.word_embeddings.weight"],
        "text_decoder.cls.predictions.decoder.bias": kept["text_decoder.cls.predictions.bias"],
    }
    published = as_published(weights["caption"], tmp_path / "blip", processor, beside=beside)
    pictures = [scene(1), scene(2)]
    captions = Blip.load(published).caption(pictures, most_tokens=12)
    assert captions == Blip.load(weights["caption"]).caption(pictures, most_tokens=12)
