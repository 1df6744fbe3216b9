"""The stages that hold models pass the stage suite on small random weights, and keep what they promise besides."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np
import pytest
import torch

from processors.errors import WrongWeights
from processors.frame import Frame
from processors.models import torch_threads
from processors.stages.caption import Caption, CaptionSettings
from processors.stages.detect import Detect, DetectSettings
from processors.stages.embed import Embed, EmbedSettings
from tests.contract.stage_suite import StageSuite
from tests.support.pictures import decoded, scene

Weights = dict[str, Path]


class WithWeights(StageSuite):
    folders: ClassVar[Weights]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _folders(cls, weights: Weights) -> None:
        cls.folders = weights

    def frames(self) -> list[Frame]:
        return [decoded(seed) for seed in range(3)]


class TestEmbedIsAStage(WithWeights):
    @classmethod
    def make(cls) -> Embed:
        return Embed(EmbedSettings(weights=str(cls.folders["semantic"]), visual_weights=str(cls.folders["visual"])))

    def test_vectors_are_named_of_unit_length_and_differ(self, stage: Any) -> None:
        frames = self.frames()
        stage.process(frames)
        rows = [[np.frombuffer(entry.vector, "<f4") for entry in frame.embeddings] for frame in frames]
        assert [entry.name for entry in frames[0].embeddings] == ["semantic", "visual"]
        assert all(np.linalg.norm(row) == pytest.approx(1, abs=1e-5) for pair in rows for row in pair)
        assert np.abs(rows[0][0] - rows[1][0]).max() > 0.01
        assert [entry.dimension for entry in frames[0].embeddings] == [row.size for row in rows[0]]


class TestCaptionIsAStage(WithWeights):
    @classmethod
    def make(cls) -> Caption:
        settings = {"weights": str(cls.folders["caption"]), "most_tokens": 8, "feeds": {"yard": {"prompt": "a photo"}}}
        return Caption(msgspec.convert(settings, CaptionSettings))

    def test_a_feed_has_its_prompt(self, stage: Any) -> None:
        frames = self.frames()
        frames[1].feed = "yard"
        stage.process(frames)
        assert [frame.captions[0].prompt for frame in frames] == ["", "a photo", ""]
        assert frames[1].captions[0].text.startswith("a photo")


class TestDetectIsAStage(WithWeights):
    @classmethod
    def make(cls) -> Detect:
        return Detect(DetectSettings(weights=str(cls.folders["detect"]), confidence=0.0))

    def test_boxes_are_in_pixels_of_the_original(self, stage: Any) -> None:
        full, half = decoded(1), decoded(1)
        full.pixels = scene(1, 320, 160)
        half.pixels = full.pixels
        full.image = msgspec.structs.replace(full.image, width=320, height=160)
        half.image = msgspec.structs.replace(full.image, width=640, height=320)
        stage.process([full, half])
        boxes = [np.array([detection.box for detection in frame.detections]) for frame in (full, half)]
        assert np.allclose(boxes[0] * 2, boxes[1])
        assert torch.get_num_threads() == torch_threads.thread_count()  # ultralytics likes to set it
        confidences = [detection.confidence for detection in full.detections]
        assert confidences == sorted(confidences, reverse=True)


def test_feeds_filter_labels_and_confidence(weights: Weights) -> None:
    folder = str(weights["detect"])
    everything = Detect(DetectSettings(weights=folder, confidence=0.0))
    everything.open("cpu")
    unfiltered = decoded(1)
    everything.process([unfiltered])
    label, most = unfiltered.detections[0].label, unfiltered.detections[0].confidence
    feeds = {"yard": {"labels": [label], "confidence": 0.0}, "roof": {"confidence": (most + 1) / 2}}
    settings = msgspec.convert({"weights": folder, "confidence": most, "feeds": feeds}, DetectSettings)
    stage = Detect(settings)
    stage.open("cpu")
    frames = [decoded(1) for _ in range(3)]
    frames[1].feed, frames[2].feed = "yard", "roof"
    stage.process(frames)
    assert 0 < len(frames[0].detections) < len(unfiltered.detections)
    assert {detection.label for detection in frames[1].detections} == {label}
    assert frames[2].detections == ()


def test_a_label_that_the_model_lacks_is_refused_at_open(weights: Weights) -> None:
    with pytest.raises(WrongWeights, match="no label unicorn"):
        Detect(DetectSettings(weights=str(weights["detect"]), labels=("unicorn",))).open("cpu")
    with pytest.raises(WrongWeights, match="sightline models pull"):
        Detect(DetectSettings()).open("cpu")
