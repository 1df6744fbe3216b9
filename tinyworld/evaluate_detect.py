"""Quality of the shipped detector and of the tracks: `detect_map50`, `track_idf1`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt

from processors.frame import Frame
from processors.models.yolo import RawDetection, Yolo
from processors.stages.gate import Gate, GateSettings
from processors.stages.track import Track, TrackSettings
from schemas.events import Detection, ImageRef
from tinyworld.clips import ClipFrame, sample_clip
from tinyworld.evaluation_scenes import STREAM, evaluation_scene
from tinyworld.metrics import MATCH_IOU, Labeled, Tracked, box_iou, identity_f1, mean_average_precision
from tinyworld.scenes import EVALUATION

CHECKPOINT = Path(__file__).parent / "checkpoints" / "yolov9"
LEAST_CONFIDENCE = 0.01
"""For the whole curve, including detections that the stage drops."""
BATCH = 32
CLIP_SECONDS, CLIP_FPS = 10.0, 10.0
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
LEAST_VISIBLE = 0.25
"""A thing that enters the frame counts from this visible share."""


def evaluate(seed: int, scenes: int) -> dict[str, object]:
    """The figures over `scenes` scenes and one clip per 50 scenes, also by number of things and for random weights."""
    shipped = Yolo.load(CHECKPOINT)
    shipped.check_reference()
    detection, tracking = _detection(shipped, seed, scenes), _tracking(shipped, seed, max(scenes // 50, 2))
    untrained = randomized(shipped)
    return {
        "detect_map50": detection["all"],
        "track_idf1": tracking["all"],
        "detect_map50_by_things": {name: value for name, value in detection.items() if name != "all"},
        "track_idf1_by_things": {name: value for name, value in tracking.items() if name != "all"},
        "detect_map50_random": _detection(untrained, seed, min(scenes, 60))["all"],
        "track_idf1_random": _tracking(untrained, seed, 2)["all"],
        "detect_scenes": scenes,
    }


def _tracking(detector: Yolo, seed: int, clips: int) -> dict[str, float]:
    """IDF1 over the frames of all clips (`all`), and by the largest number of things that a clip shows at once.

    Gate, detector and track stage run as in a pipeline, except that no frame is skipped: a skipped one has no boxes to
    compare.
    """
    predicted: defaultdict[str, list[Tracked]] = defaultdict(list)
    truth: defaultdict[str, list[Tracked]] = defaultdict(list)
    for number in range(clips):
        rng = np.random.default_rng([STREAM, seed, 1, number])
        clip = sample_clip(rng, seconds=CLIP_SECONDS, fps=CLIP_FPS, count=EVALUATION.detection_count)
        frames = list(clip.frames())
        objects = detector.detect([frame.rendered.image for frame in frames])
        visible = [np.flatnonzero(frame.rendered.visible >= LEAST_VISIBLE) for frame in frames]
        for name in ("all", str(max(map(len, visible)))):
            for true, tracked, chosen in zip(frames, _followed(frames, objects), visible, strict=True):
                predicted[name].append(_prefixed(number, _without_unclear(tracked, true)))
                truth[name].append(_prefixed(number, _tracks(true, chosen)))
    return {name: identity_f1(predicted[name], truth[name]) for name in sorted(truth)}


def _followed(clip: Sequence[ClipFrame], detected: Sequence[Sequence[RawDetection]]) -> list[Tracked]:
    """The tracks that the stages assign to a clip's detected objects."""
    frames = [_frame(shown, objects) for shown, objects in zip(clip, detected, strict=True)]
    gate, track = Gate(GateSettings()), Track(TrackSettings())
    for stage in (gate, track):
        stage.open("cpu")
        stage.process(frames, {"default/clip": stage.initial_state()})
        stage.close()
    return [_tracked([detection for detection in frame.detections if detection.track]) for frame in frames]


def _frame(shown: ClipFrame, objects: Sequence[RawDetection]) -> Frame:
    moment = EPOCH + timedelta(seconds=shown.seconds)
    return Frame(
        id=f"{shown.index:08}",
        tenant="default",
        feed="clip",
        kind="frame",
        position=str(shown.index),
        ingested=moment,
        captured=moment,
        image=ImageRef(format="jpeg", sha256="", size_bytes=0, width=EVALUATION.width, height=EVALUATION.height),
        detections=tuple(Detection(label=each.label, confidence=each.confidence, box=each.box) for each in objects),
        pixels=shown.rendered.image,
    )


def _tracked(kept: Sequence[Detection]) -> Tracked:
    boxes = np.array([detection.box for detection in kept], np.float32).reshape(-1, 4)
    return Tracked(boxes, tuple(detection.track for detection in kept))


def _tracks(frame: ClipFrame, chosen: npt.NDArray[np.intp]) -> Tracked:
    return Tracked(frame.rendered.boxes[chosen], tuple(frame.tracks[index] for index in chosen))


def _without_unclear(tracked: Tracked, frame: ClipFrame) -> Tracked:
    """Without the boxes of things of which too little is visible: they count neither as right nor as wrong.

    The benchmarks of multi-object tracking do the same.
    """
    unclear = frame.rendered.visible < LEAST_VISIBLE
    agreement = box_iou(tracked.boxes, frame.rendered.boxes)
    best = agreement.argmax(axis=1)
    kept = np.flatnonzero((agreement.max(axis=1) < MATCH_IOU) | ~unclear[best])
    return Tracked(tracked.boxes[kept], tuple(tracked.identities[index] for index in kept))


def _prefixed(clip: int, tracked: Tracked) -> Tracked:
    """Identities made distinct between clips."""
    return Tracked(tracked.boxes, tuple((clip, identity) for identity in tracked.identities))


def randomized(detector: Yolo) -> Yolo:
    """The same architecture before any training, with random weights from a seed."""
    import torch
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(0)
    model = DetectionModel("yolov9t.yaml", ch=3, nc=len(detector.names), verbose=False)
    model.args, model.names = {"imgsz": detector.image_size}, dict(enumerate(detector.names))
    return Yolo(model, detector.weights, device="cpu", precision="fp32")


def _detection(detector: Yolo, seed: int, scenes: int) -> dict[str, float]:
    predicted: list[Labeled] = []
    truth: list[Labeled] = []
    for first in range(0, scenes, BATCH):
        drawn = [evaluation_scene(seed, number) for number in range(first, min(first + BATCH, scenes))]
        detected = detector.detect([rendered.image for _, rendered in drawn], min_confidence=LEAST_CONFIDENCE)
        predicted += [labeled(objects) for objects in detected]
        truth += [Labeled(rendered.boxes, tuple(t.shape for t in scene.things)) for scene, rendered in drawn]
    figures = {"all": mean_average_precision(predicted, truth)}
    for things in range(EVALUATION.detection_count[0], EVALUATION.detection_count[1] + 1):
        chosen = [index for index, picture in enumerate(truth) if len(picture.labels) == things]
        if chosen:
            figures[str(things)] = mean_average_precision([predicted[i] for i in chosen], [truth[i] for i in chosen])
    return figures


def labeled(objects: Sequence[RawDetection]) -> Labeled:
    """The adapter's detections as the metrics take them."""
    return Labeled(
        np.array([each.box for each in objects], np.float32).reshape(-1, 4),
        tuple(each.label for each in objects),
        tuple(each.confidence for each in objects),
    )
