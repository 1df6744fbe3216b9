"""The adapters against the library's own processors, `generate` and forward passes, on the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray

from processors.models.blip import Blip
from processors.models.checkpoint import resolve_precision
from processors.models.clip import Clip
from processors.models.itm import Itm
from processors.models.model_card import Fit
from processors.models.preprocess import Preprocessor
from processors.models.vit import Vit
from tests.support.pictures import scene
from tinyworld.preprocess import padded

Weights = dict[str, Path]
SIZES = ((160, 90), (90, 160), (64, 64), (333, 100), (48, 48), (20, 31))


def pictures() -> list[NDArray[np.uint8]]:
    return [scene(seed, *size) for seed, size in enumerate(SIZES)]


def library(folder: Path, kind: str) -> tuple[Any, Any]:
    processor = transformers.AutoProcessor.from_pretrained(folder)
    return getattr(transformers, kind).from_pretrained(folder).eval(), processor


def unit(rows: torch.Tensor) -> NDArray[np.float32]:
    return torch.nn.functional.normalize(rows, dim=-1).numpy()


@torch.inference_mode()
def test_crop_is_what_the_library_does_for_clip(weights: Weights) -> None:
    model, processor = library(weights["semantic"], "CLIPModel")
    inputs = processor(images=pictures(), return_tensors="pt")
    expected = unit(model.get_image_features(**inputs).pooler_output)
    ours = Clip.load(weights["semantic"], fit="crop").embed_images(pictures())
    assert np.abs(ours - expected).max() < 1e-2
    assert np.abs(expected - np.roll(expected, 1, axis=0)).max() > 0.1  # they are not all alike


@torch.inference_mode()
def test_stretch_is_what_the_library_does_for_vit_and_blip(weights: Weights) -> None:
    processor = transformers.AutoImageProcessor.from_pretrained(weights["visual"])
    model = transformers.ViTModel.from_pretrained(weights["visual"], add_pooling_layer=False).eval()
    expected = unit(model(**processor(images=pictures(), return_tensors="pt")).last_hidden_state[:, 0])
    assert np.abs(Vit.load(weights["visual"], fit="stretch").embed_images(pictures()) - expected).max() < 1e-2
    captioner, processor = library(weights["caption"], "BlipForConditionalGeneration")
    tokens = captioner.generate(**processor(images=pictures(), return_tensors="pt"), max_new_tokens=12)
    expected_texts = [" ".join(text.split()) for text in processor.batch_decode(tokens, skip_special_tokens=True)]
    assert Blip.load(weights["caption"], fit="stretch").caption(pictures(), most_tokens=12) == expected_texts


def test_pad_is_the_definition_that_tinyworld_trains_with(weights: Weights) -> None:
    half = (0.5, 0.5, 0.5)
    ours = Preprocessor(48, "pad", half, half, 48, "bicubic")(pictures()).numpy()
    assert np.abs(ours - padded(pictures(), 48)).max() < 1e-5
    clip = Clip.load(weights["semantic"])
    assert clip.preprocess.fit == "pad"
    grey = np.full((30, 60, 3), np.round(255 * np.array(clip.preprocess.mean)), np.uint8)
    assert np.abs(clip.preprocess([grey]).numpy()).max() < 0.01  # the border is the mean color


def test_every_fit_has_its_own_revision(weights: Weights) -> None:
    fits: tuple[Fit, ...] = ("crop", "pad", "stretch")
    assert len({Vit.load(weights["visual"], fit=fit).revision for fit in fits}) == 3
    assert Vit.load(weights["visual"]).revision == Vit.load(weights["visual"], fit="pad").revision


@torch.inference_mode()
def test_texts_are_the_library_s_whatever_else_is_in_the_batch(weights: Weights) -> None:
    model, processor = library(weights["semantic"], "CLIPModel")
    texts = ["a red circle", "a", "a blue square and a green star, below it a ring", "naïve 圖"]
    inputs = processor(text=texts, padding="max_length", max_length=77, return_tensors="pt")
    expected = unit(model.get_text_features(**inputs).pooler_output)
    clip = Clip.load(weights["semantic"])
    assert np.abs(clip.embed_texts(texts) - expected).max() < 1e-4
    assert np.abs(clip.embed_texts(["a"]) - expected[1]).max() < 1e-4
    assert clip.embed_texts([]).shape == (0, clip.dimension)
    cut = clip.embed_texts(["word " * 200])
    assert np.isfinite(cut).all()


@pytest.mark.parametrize("least", [0, 9])
@torch.inference_mode()
def test_our_decoding_gives_the_tokens_of_generate(weights: Weights, least: int) -> None:
    captioner, processor = library(weights["caption"], "BlipForConditionalGeneration")
    blip = Blip.load(weights["caption"], fit="stretch")
    for prompt in ("", "a photo of", "red"):
        options: dict[str, Any] = {"text": [prompt] * len(SIZES)} if prompt else {}
        inputs = processor(images=pictures(), return_tensors="pt", **options)
        tokens = captioner.generate(**inputs, max_new_tokens=14, min_new_tokens=least, num_beams=1, do_sample=False)
        expected = [" ".join(text.split()) for text in processor.batch_decode(tokens, skip_special_tokens=True)]
        prompts = [prompt] * len(SIZES)
        assert blip.caption(pictures(), prompts, most_tokens=14, least_tokens=least) == expected
        assert len(set(expected)) > 1  # the pictures differ in their captions


def test_prompts_of_other_lengths_change_nothing(weights: Weights) -> None:
    blip = Blip.load(weights["caption"])
    prompts = ["", "a", "a photo of", "", "a red", "the"]
    together = blip.caption(pictures(), prompts, most_tokens=10)
    alone = [
        blip.caption([picture], [prompt], most_tokens=10)[0]
        for picture, prompt in zip(pictures(), prompts, strict=True)
    ]
    assert together == alone


@torch.inference_mode()
def test_matching_gives_the_library_s_log_odds(weights: Weights) -> None:
    model, processor = library(weights["matching"], "BlipForImageTextRetrieval")
    texts = ["a red circle", "a", "stars"]
    itm = Itm.load(weights["matching"], fit="stretch")
    first, second = pictures()[:2]
    ours = itm.match([*texts, *texts], [first, first, first, second, second, second])
    for index, (text, picture) in enumerate((text, picture) for picture in (first, second) for text in texts):
        inputs = processor(images=picture, text=text, return_tensors="pt")
        score = model(**inputs).itm_score[0]
        assert ours[index] == pytest.approx(float(score[1] - score[0]), abs=1e-2)
    assert itm.match([], []).shape == (0,)


def test_bf16_moves_vectors_little_and_leaves_them_float32_of_unit_length(weights: Weights) -> None:
    for kind, role in ((Clip, "semantic"), (Vit, "visual")):
        full = kind.load(weights[role], precision="fp32").embed_images(pictures())
        half = kind.load(weights[role], precision="bf16").embed_images(pictures())
        assert half.dtype == np.float32
        assert np.abs(np.linalg.norm(half, axis=1) - 1).max() < 1e-5
        assert (full * half).sum(1).min() > 0.99
    assert all(Blip.load(weights["caption"], precision="bf16").caption(pictures(), most_tokens=4))
    assert np.isfinite(Itm.load(weights["matching"], precision="bf16").match(["a"], pictures()[:1])).all()


def test_auto_precision_is_a_rule_of_the_device() -> None:
    assert [resolve_precision("auto", device) for device in ("cpu", "cuda", "cuda:1")] == ["fp32", "bf16", "bf16"]
    assert resolve_precision("fp16", "cpu") == "fp16"
