"""The tiny models in a GPU's precision, compared with their cards and with the same weights in fp32 on a CPU."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from processors.models.blip import Blip
from processors.models.checkpoint import resolve_precision
from processors.models.clip import Clip
from processors.models.itm import Itm
from processors.models.sam import Segmenter
from processors.models.vit import Vit
from processors.models.yolo import Yolo
from tinyworld.captions import describe
from tinyworld.evaluation_scenes import evaluation_scene
from tinyworld.metrics import mask_iou
from tinyworld.publish import CHECKPOINTS
from tinyworld.search_scenes import search_scene

HALF = resolve_precision("auto", "cuda")
SEED = 17
PRETRAINED = {"blip": Blip, "blip_itm": Itm, "clip": Clip, "vit": Vit}

Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    return [search_scene(SEED, number)[1].image for number in range(12)]


@pytest.fixture(scope="module")
def captions() -> list[str]:
    return [str(describe(*search_scene(SEED, number))) for number in range(12)]


@pytest.mark.parametrize("folder", PRETRAINED)
def test_the_output_for_the_reference_picture_matches_the_card(folder: str, device: str) -> None:
    PRETRAINED[folder].load(CHECKPOINTS / folder, device=device, precision=HALF).check_reference()


def test_the_detector_and_the_segmenter_match_their_cards(device: str) -> None:
    Yolo.load(CHECKPOINTS / "yolov9", device=device, precision=HALF).check_reference()
    Segmenter.load(CHECKPOINTS / "sam", device=device, precision=HALF).check_reference()


def test_captions_are_the_same_sentences(device: str, pictures: list[Picture]) -> None:
    here = Blip.load(CHECKPOINTS / "blip", device=device, precision=HALF).caption(pictures)
    there = Blip.load(CHECKPOINTS / "blip").caption(pictures)
    same = [ours == theirs for ours, theirs in zip(here, there, strict=True)]
    assert np.mean(same) >= 0.9, "a word may differ where two are equally likely"


@pytest.mark.parametrize("kind", [Clip, Vit])
def test_vectors_have_the_same_direction(kind: type[Clip] | type[Vit], device: str, pictures: list[Picture]) -> None:
    folder = CHECKPOINTS / kind.__name__.lower()
    here = kind.load(folder, device=device, precision=HALF).embed_images(pictures)
    there = kind.load(folder).embed_images(pictures)
    assert here.dtype == np.float32
    assert np.abs(np.linalg.norm(here, axis=1) - 1).max() < 1e-5
    own = (here * there).sum(axis=1)
    assert own.min() > 0.99
    assert ((here @ there.T).argmax(axis=1) == np.arange(len(pictures))).all()


def test_texts_find_the_same_pictures(device: str, pictures: list[Picture], captions: list[str]) -> None:
    clip = Clip.load(CHECKPOINTS / "clip", device=device, precision=HALF)
    there = Clip.load(CHECKPOINTS / "clip")
    assert (clip.embed_texts(captions) * there.embed_texts(captions)).sum(axis=1).min() > 0.99
    nearest = (clip.embed_texts(captions) @ clip.embed_images(pictures).T).argmax(axis=1)
    assert list(nearest) == list(range(len(pictures)))


def test_the_matching_head_accepts_and_rejects_the_same(
    device: str, pictures: list[Picture], captions: list[str]
) -> None:
    texts, shown = [*captions, *captions[1:], captions[0]], [*pictures, *pictures]
    here = Itm.load(CHECKPOINTS / "blip_itm", device=device, precision=HALF).match(texts, shown)
    there = Itm.load(CHECKPOINTS / "blip_itm").match(texts, shown)
    assert np.abs(here - there).max() < 1.0
    sure = np.abs(there) > 1.0
    assert (np.sign(here) == np.sign(there))[sure].all()
    assert sure.mean() > 0.9


def test_detections_are_the_same(device: str) -> None:
    pictures = [evaluation_scene(SEED, number)[1].image for number in range(8)]
    here = Yolo.load(CHECKPOINTS / "yolov9", device=device, precision=HALF).detect(pictures)
    there = Yolo.load(CHECKPOINTS / "yolov9").detect(pictures)
    for ours, theirs in zip(here, there, strict=True):
        pairs = zip(*(sorted(each, key=lambda found: (found.label, found.box)) for each in (ours, theirs)), strict=True)
        for detection, other in pairs:
            assert detection.label == other.label
            assert np.abs(np.subtract(detection.box, other.box)).max() < 3.0
            assert abs(detection.confidence - other.confidence) < 0.1


def test_masks_for_boxes_and_of_the_generator_are_the_same(device: str) -> None:
    _, rendered = evaluation_scene(SEED, 3)
    here = Segmenter.load(CHECKPOINTS / "sam", device=device, precision=HALF)
    there = Segmenter.load(CHECKPOINTS / "sam")
    ours, ours_iou = here.masks_in_boxes(rendered.image, rendered.boxes)
    theirs, theirs_iou = there.masks_in_boxes(rendered.image, rendered.boxes)
    assert min(mask_iou(mask, other) for mask, other in zip(ours, theirs, strict=True)) > 0.9
    assert np.abs(ours_iou - theirs_iou).max() < 0.05
    # The generator converts the model's output to NumPy, which has no bf16.
    masks = [mask["segmentation"] for mask in here.segment_everything(rendered.image)]
    best = [max((mask_iou(mask, truth) for mask in masks), default=0.0) for truth in rendered.masks]
    assert max(best) > 0.85
