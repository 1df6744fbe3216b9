"""Weights trained on tinyworld know which pictures are not of it: photographs in the packages that models come with."""

from importlib.util import find_spec
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest

from processors.frame import Frame
from processors.models.blip import Blip
from processors.models.clip import Clip
from processors.models.domain import Domain
from processors.models.preprocess import Image
from processors.models.yolo import Yolo
from processors.stages.caption import Caption, CaptionSettings
from processors.stages.detect import Detect, DetectSettings
from processors.stages.embed import Embed, EmbedSettings
from schemas.events import ImageRef
from schemas.points import OUT_OF_DOMAIN, payload
from tests.support.events import frame_event
from tinyworld.publish import CHECKPOINTS
from tinyworld.search_scenes import search_scene

SCENES = 60
OUTSIDE_AT_MOST = 2
"""Of `SCENES`: 1 % in the long run (`python -m tinyworld.domain measure` prints it)."""


@pytest.fixture(scope="module")
def photographs() -> list[Image]:
    """Whole photographs, and parts of them as a camera nearer by would show."""
    ultralytics = find_spec("ultralytics")  # not imported: `import_ultralytics` must be the first to
    assert ultralytics is not None and ultralytics.origin is not None  # noqa: PT018
    assets = Path(ultralytics.origin).parent / "assets"
    paths = [*sorted(assets.glob("*.jpg")), Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"]
    whole = [np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR_RGB), np.uint8) for path in paths]
    halves = [image[: len(image) // 2] for image in whole]
    assert len(whole) == 3
    return [*whole, *halves]


@pytest.fixture(scope="module")
def scenes() -> list[Image]:
    return [search_scene(7001, number)[1].image for number in range(SCENES)]


def test_texts_are_compared_with_scenes_alone(photographs: list[Image], scenes: list[Image]) -> None:
    clip = Clip.load(CHECKPOINTS / "clip")
    assert clip.embed_in_domain(photographs)[1].all()
    assert clip.embed_in_domain(scenes)[1].sum() <= OUTSIDE_AT_MOST


def test_captions_are_of_scenes_alone(photographs: list[Image], scenes: list[Image]) -> None:
    blip = Blip.load(CHECKPOINTS / "blip")
    assert blip.caption_in_domain(photographs, most_tokens=4) == [None] * len(photographs)
    mixed = blip.caption_in_domain([photographs[0], scenes[0], photographs[1], scenes[1]])
    assert [mixed[1], mixed[3]] == blip.caption(scenes[:2])
    assert mixed[0] is None
    texts = blip.caption_in_domain(scenes, most_tokens=2)
    assert texts.count(None) <= OUTSIDE_AT_MOST


def test_objects_are_looked_for_in_scenes_alone(photographs: list[Image], scenes: list[Image]) -> None:
    yolo = Yolo.load(CHECKPOINTS / "yolov9")
    mixed = yolo.detect_in_domain([photographs[0], scenes[0], photographs[1]])
    assert (mixed[0], mixed[2]) == (None, None)
    assert mixed[1] == yolo.detect(scenes[:1])[0]


def test_stages_withhold_what_a_model_cannot_know(photographs: list[Image], scenes: list[Image]) -> None:
    caption = Caption(CaptionSettings(weights=str(CHECKPOINTS / "blip")))
    embed = Embed(EmbedSettings(weights=str(CHECKPOINTS / "clip"), visual_weights=str(CHECKPOINTS / "vit")))
    detect = Detect(DetectSettings(weights=str(CHECKPOINTS / "yolov9")))
    frames = [_frame(photographs[0]), _frame(scenes[0])]
    for stage in (detect, caption, embed):
        stage.open("cpu")
        assert stage.process(frames) == [None, None]
        stage.close()
    photograph, scene = frames
    assert photograph.results == {name: {"out_of_domain": True} for name in ("detect", "caption", "embed")}
    assert (photograph.captions, photograph.keywords, photograph.detections) == ((), None, ())
    assert photograph.embeddings  # it is found by picture
    assert not scene.results
    assert scene.captions
    assert scene.detections


def test_a_point_says_so_in_its_flags() -> None:
    strange = frame_event("test:1", results={"caption": {"out_of_domain": True}})
    assert payload(strange)["flags"] == [OUT_OF_DOMAIN]
    assert payload(frame_event("test:2", results={"gate": {"difference": 0.1}}))["flags"] == []


def test_weights_without_the_file_know_every_picture(tmp_path: Path) -> None:
    assert Domain.load(tmp_path) is None


def _frame(pixels: Image) -> Frame:
    event = frame_event("test:frame")
    height, width = pixels.shape[:2]
    return Frame(
        id=event.id, tenant=event.tenant, feed=event.feed, kind=event.kind, position=event.position,
        ingested=event.ingested, image=ImageRef(format="jpeg", sha256="", size_bytes=0, width=width, height=height),
        pixels=pixels,
    )  # fmt: skip
