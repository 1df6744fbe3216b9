"""The detector's adapter, on the shipped checkpoint, against ultralytics' own `predict`."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from processors.errors import WrongWeights
from processors.models.yolo import Image, RawDetection, Yolo
from tinyworld.evaluation_scenes import evaluation_scene
from tinyworld.train_yolo import CHECKPOINT


@pytest.fixture(scope="module")
def detector() -> Yolo:
    return Yolo.load(CHECKPOINT.parent)


@pytest.fixture(scope="module")
def pictures() -> list[Image]:
    """Five scenes, some in sizes that letterbox differently: wide, tall, larger, and of odd pixels."""
    scenes = [evaluation_scene(5, number)[1].image for number in range(4, 9)]
    sizes = [(320, 240), (1000, 333), (200, 500), (1280, 960), (401, 333)]
    return [np.asarray(cv2.resize(scene, size), np.uint8) for scene, size in zip(scenes, sizes, strict=True)]


def rows(detections: list[RawDetection], names: tuple[str, ...]) -> np.ndarray:
    return np.array([[*d.box, d.confidence, names.index(d.label)] for d in detections]).reshape(-1, 6)


def test_equals_predict_picture_by_picture(detector: Yolo, pictures: list[Image]) -> None:
    from ultralytics import YOLO

    threads = torch.get_num_threads()
    theirs = YOLO(str(detector.weights))
    batch = detector.detect(pictures)
    assert sum(len(detections) for detections in batch) >= 10
    for picture, ours in zip(pictures, batch, strict=True):
        expected = theirs.predict(picture[..., ::-1], verbose=False)[0].boxes.data.numpy()
        np.testing.assert_allclose(rows(ours, detector.names), expected, atol=1e-3)
    torch.set_num_threads(threads)  # their first predict changes it


def test_what_is_found_in_one_picture_does_not_depend_on_the_others(detector: Yolo, pictures: list[Image]) -> None:
    together = detector.detect([*pictures, *pictures[::-1]])
    for picture, detections in zip([*pictures, *pictures[::-1]], together, strict=True):
        alone = rows(detector.detect([picture])[0], detector.names)
        np.testing.assert_allclose(rows(detections, detector.names), alone, atol=1e-3)


def test_finds_the_things_of_a_scene(detector: Yolo) -> None:
    for number in range(6):
        scene, rendered = evaluation_scene(6, number)
        detections = detector.detect([rendered.image])[0]
        assert sorted(detection.label for detection in detections) == sorted(thing.shape for thing in scene.things)


def test_boxes_lie_in_the_picture(detector: Yolo) -> None:
    image = evaluation_scene(5, 11)[1].image
    for detections in detector.detect([image[:, 60:200], image[70:150]], min_confidence=0.05):
        assert detections
    (left, top), (right, bottom) = (0, 0), (140, 240)
    for detection in detector.detect([image[:, 60:200]], min_confidence=0.05)[0]:
        assert left <= detection.box[0] < detection.box[2] <= right
        assert top <= detection.box[1] < detection.box[3] <= bottom


def test_no_pictures_and_a_picture_of_nothing(detector: Yolo) -> None:
    assert detector.detect([]) == []
    assert detector.detect([np.full((240, 320, 3), 128, np.uint8)]) == [[]]


def test_bf16_agrees(detector: Yolo, pictures: list[Image]) -> None:
    half = Yolo.load(CHECKPOINT.parent, precision="bf16")
    for exact, rough in zip(detector.detect(pictures), half.detect(pictures), strict=True):
        exact, rough = (sorted(detections, key=lambda d: (d.label, d.box)) for detections in (exact, rough))
        assert [d.label for d in exact] == [d.label for d in rough]
        np.testing.assert_allclose([d.box for d in exact], [d.box for d in rough], atol=6)


def test_threads_are_left_alone_and_settings_are_not_the_users() -> None:
    before = torch.get_num_threads(), cv2.getNumThreads()
    Yolo.load(CHECKPOINT.parent).detect([evaluation_scene(5, 1)[1].image])
    assert (torch.get_num_threads(), cv2.getNumThreads()) == before
    assert os.environ["ULTRALYTICS_SAFE_LOAD"] == "1"
    assert not Path(os.environ["YOLO_CONFIG_DIR"]).is_relative_to(Path.home())


class Hostile:
    """Touches a file when unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return Path.touch, (self.target,)


def test_a_pickle_that_runs_code_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save({"model": Hostile(tmp_path / "ran")}, tmp_path / "hostile.pt")
    with pytest.raises(WrongWeights, match="hostile"):
        Yolo.load(tmp_path / "hostile.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "damaged.pt").write_bytes(content)
    with pytest.raises(WrongWeights, match="damaged"):
        Yolo.load(tmp_path / "damaged.pt")


def test_a_folder_without_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(WrongWeights, match="0 found"):
        Yolo.load(tmp_path)


def test_the_reference_is_answered_as_shipped(detector: Yolo) -> None:
    detector.check_reference()
    Yolo.load(CHECKPOINT.parent, precision="bf16").check_reference()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"label": "ring"}, "instead of"),
        ({"box": [0, 0, 10, 10]}, "pixels off"),
        ({"confidence": 0.2}, "has confidence"),
    ],
)
def test_another_answer_on_the_reference_is_refused(tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    folder = Path(shutil.copytree(CHECKPOINT.parent, tmp_path / "yolov9"))
    described = json.loads((folder / "sightline.json").read_text())
    described["expected"][0] |= change
    (folder / "sightline.json").write_text(json.dumps(described))
    with pytest.raises(WrongWeights, match=complaint):
        Yolo.load(folder).check_reference()


def test_other_weights_are_refused_by_revision(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(CHECKPOINT.parent, tmp_path / "yolov9"))
    described = json.loads((folder / "sightline.json").read_text()) | {"revision": "0" * 12}
    (folder / "sightline.json").write_text(json.dumps(described))
    with pytest.raises(WrongWeights, match="revision"):
        Yolo.load(folder).check_reference()
