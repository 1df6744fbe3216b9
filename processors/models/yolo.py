"""YOLOv9 (Wang et al. 2024) through ultralytics: safe loading, and detection batched over pictures of any size.

The letterbox and the batch are ours; the network, its layer fusion and the non-maximum suppression are ultralytics'.
The result equals `YOLO.predict` picture by picture (a test compares them) without that call's cost. AGPL-3.0, as is
Sightline.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from processors.errors import WrongWeights
from processors.models.domain import Domain, answers
from processors.models.model_card import check_revision, read_card, reference_picture
from processors.models.out_of_memory import translate_out_of_memory
from processors.opencv import cv2

if TYPE_CHECKING:
    import torch

Image = NDArray[np.uint8]
Box = tuple[float, float, float, float]
Precision = Literal["fp32", "bf16", "fp16"]

GRAY = 114
"""The padding that ultralytics trains and predicts with."""
STRIDE = 32
MOST_DETECTIONS = 300
"""The limit of detections per picture, ultralytics' own default."""
NO_TIME_LIMIT_SECONDS = 3600.0
"""ultralytics stops its suppression after two seconds and leaves the rest of the batch empty. On a busy machine
objects would be lost, so this limit is out of reach."""


@dataclass(frozen=True, slots=True)
class RawDetection:
    """One detected object; `box` is xyxy in pixels of the input picture, clipped to it."""

    label: str
    confidence: float
    box: Box


@dataclass(frozen=True, slots=True)
class Letterbox:
    """A picture's position on its canvas. `size` is the canvas' (height, width), `inner` the scaled picture's."""

    size: tuple[int, int]
    inner: tuple[int, int]
    left: int
    top: int

    @classmethod
    def fit(cls, height: int, width: int, longest: int) -> Self:
        """Aspect ratio kept, centered, the longer side `longest`, on the smallest canvas of whole strides.

        Rounds as ultralytics' `LetterBox` does.
        """
        scale = longest / max(height, width)
        inner = max(round(height * scale), 1), max(round(width * scale), 1)
        size = inner[0] + (longest - inner[0]) % STRIDE, inner[1] + (longest - inner[1]) % STRIDE
        return cls(size, inner, round((size[1] - inner[1]) / 2 - 0.1), round((size[0] - inner[0]) / 2 - 0.1))

    def apply(self, image: Image) -> Image:
        """`image` [height, width, 3] on a gray canvas [*size, 3]."""
        if image.shape[:2] != self.inner:
            image = np.asarray(cv2.resize(image, self.inner[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)
        canvas = np.full((*self.size, 3), GRAY, np.uint8)
        canvas[self.top : self.top + self.inner[0], self.left : self.left + self.inner[1]] = image
        return canvas

    def undo(self, boxes: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
        """Boxes [n, 4] of the canvas in pixels of the picture, clipped to it."""
        shift = np.array([self.left, self.top] * 2, np.float32)
        ratio = np.array([width / self.inner[1], height / self.inner[0]] * 2, np.float32)
        limits = np.array([width, height] * 2, np.float32)
        return np.asarray(np.clip((boxes - shift) * ratio, 0, limits), np.float32)


def import_ultralytics() -> None:
    """Import ultralytics so that it unpickles only its own classes and installs, downloads and reports nothing.

    Its settings lie in a folder of this process; torch's and OpenCV's thread counts stay as they were.
    """
    os.environ.update(ULTRALYTICS_SAFE_LOAD="1", YOLO_AUTOINSTALL="false", YOLO_OFFLINE="1", YOLO_VERBOSE="false")
    if "YOLO_CONFIG_DIR" not in os.environ:
        folder = tempfile.mkdtemp(prefix="sightline-ultralytics-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["YOLO_CONFIG_DIR"] = folder
    import torch

    torch_threads, cv2_threads = torch.get_num_threads(), cv2.getNumThreads()
    import ultralytics

    if ultralytics.settings["sync"]:
        ultralytics.settings.update({"sync": False})
    torch.set_num_threads(torch_threads)
    cv2.setNumThreads(cv2_threads)


class Yolo:
    """A detector. `names` are its labels, `image_size` the longer side of its input, `revision` names its weights."""

    def __init__(self, model: Any, weights: Path, *, device: str, precision: Precision) -> None:
        import torch

        self.weights = weights
        self.device, self.precision = torch.device(device), precision
        self.image_size = _image_size(model)
        self.names: tuple[str, ...] = tuple(model.names[index] for index in sorted(model.names))
        with weights.open("rb") as file:
            self.revision = hashlib.file_digest(file, "sha256").hexdigest()[:12]
        self._model = model.fuse(verbose=False).eval().to(self.device, memory_format=torch.channels_last)
        self.domain = Domain.load(weights.parent)
        self._head = self._model.model[-1]
        # In this mode the head returns raw outputs. Boxes are then decoded in fp32 whatever the precision, because bf16
        # rounds an edge at 300 to a whole pixel.
        self._head.training = True

    @classmethod
    def load(cls, path: Path, *, device: str = "cpu", precision: Precision = "fp32") -> Self:
        """Load a `.pt`, or the one in a folder.

        Raises `WrongWeights` when it is missing, damaged, no YOLO detector, or holds anything but ultralytics' and
        torch's own classes.
        """
        weights = _single_checkpoint(path)
        import_ultralytics()
        from ultralytics.nn.tasks import DetectionModel, load_checkpoint

        try:
            model, _ = load_checkpoint(weights)
        except Exception as error:  # ultralytics raises half a dozen kinds; all mean that these weights are unusable
            raise WrongWeights(f"{weights}: refused by safe loading: {_first_line(error)}") from error
        if not isinstance(model, DetectionModel) or getattr(model.model[-1], "end2end", False):
            raise WrongWeights(f"{weights}: holds a {type(model).__name__}, not a YOLOv9 detector")
        return cls(model, weights, device=device, precision=precision)

    def detect(
        self, images: Sequence[Image], *, min_confidence: float = 0.25, max_overlap: float = 0.7
    ) -> list[list[RawDetection]]:
        """Objects of each picture, uint8 RGB [H, W, 3], most confident first.

        Detections below `min_confidence` are dropped; `max_overlap` is the IoU above which two boxes of a label are
        one object (ultralytics' defaults). Pictures whose canvases are equal share a forward pass, and the result
        for one does not depend on the others. Raises `OutOfMemory`.
        """
        canvases = [Letterbox.fit(image.shape[0], image.shape[1], self.image_size) for image in images]
        groups: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for index, canvas in enumerate(canvases):
            groups[canvas.size].append(index)
        detections: list[list[RawDetection]] = [[] for _ in images]
        for members in groups.values():
            batch = np.stack([canvases[index].apply(images[index]) for index in members])
            with translate_out_of_memory():
                outputs = self._forward(batch, min_confidence, max_overlap)
            for index, rows in zip(members, outputs, strict=True):
                detections[index] = self._detections(rows, canvases[index], images[index])
        return detections

    def detect_in_domain(
        self, images: Sequence[Image], *, min_confidence: float = 0.25, max_overlap: float = 0.7
    ) -> list[list[RawDetection] | None]:
        """As `detect`; None for a picture outside the model's domain."""

        def detect(rows: Sequence[int]) -> list[list[RawDetection]]:
            chosen = [images[row] for row in rows]
            return self.detect(chosen, min_confidence=min_confidence, max_overlap=max_overlap)

        return answers(self.domain, images, detect)

    def check_reference(self) -> None:
        """Compare with the picture and the expected objects beside the weights, if there are any.

        Raises `WrongWeights` naming what differs.
        """
        folder = self.weights.parent
        card = read_card(folder)
        if card is None:
            return
        check_revision(folder, card, self.revision)
        picture = reference_picture(folder)
        detections = self.detect([picture])[0]
        if difference := _difference(detections, card.expected, card.tolerance):
            raise WrongWeights(f"{self.weights}: wrong output on the reference picture: {difference}")

    def _forward(self, batch: Image, min_confidence: float, max_overlap: float) -> list[NDArray[np.float32]]:
        """Rows x1, y1, x2, y2, confidence, label number in pixels of the canvas, for each of [n, H, W, 3]."""
        import torch
        from ultralytics.utils.nms import non_max_suppression

        half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.precision)
        with torch.inference_mode():
            pixels = torch.from_numpy(batch).to(self.device).permute(0, 3, 1, 2).float() / 255
            with torch.autocast(self.device.type, half, enabled=half is not None):
                outputs = self._model(pixels)
            decoded = self._head._inference({name: _as_float(value) for name, value in outputs.items()})
            kept = non_max_suppression(
                decoded,
                min_confidence,
                max_overlap,
                max_det=MOST_DETECTIONS,
                max_time_img=NO_TIME_LIMIT_SECONDS,
            )
        return [rows.cpu().numpy() for rows in kept]

    def _detections(self, rows: NDArray[np.float32], canvas: Letterbox, image: Image) -> list[RawDetection]:
        boxes = canvas.undo(rows[:, :4], *image.shape[:2])
        return [
            RawDetection(self.names[int(label)], float(confidence), (float(x1), float(y1), float(x2), float(y2)))
            for (x1, y1, x2, y2), confidence, label in zip(boxes, rows[:, 4], rows[:, 5], strict=True)
        ]


def _as_float(value: torch.Tensor | list[torch.Tensor]) -> Any:
    return [tensor.float() for tensor in value] if isinstance(value, list) else value.float()


def _single_checkpoint(path: Path) -> Path:
    candidates = sorted(path.glob("*.pt")) if path.is_dir() else [path]
    if len(candidates) != 1 or not candidates[0].is_file():
        raise WrongWeights(f"{path}: one .pt file is wanted, {len(candidates) if path.is_dir() else 'none'} found")
    return candidates[0]


def _image_size(model: Any) -> int:
    """The longer side the checkpoint was trained at; published ones say 640."""
    size = model.args["imgsz"]
    longest = max(size) if isinstance(size, list | tuple) else int(size)
    return -(-longest // STRIDE) * STRIDE


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _difference(detections: Sequence[RawDetection], expected: Sequence[Any], tolerance: Any) -> str:
    """A description of the first difference, or an empty text.

    Pairs go by label and position, not by confidence, which may swap two of nearly equal confidence.
    """
    ordered = sorted(detections, key=lambda detection: (detection.label, detection.box))
    labels, expected_labels = [detection.label for detection in ordered], [entry["label"] for entry in expected]
    if labels != expected_labels:
        return f"{labels} instead of {expected_labels}"
    for detection, entry in zip(ordered, expected, strict=True):
        distance = max(abs(a - b) for a, b in zip(detection.box, entry["box"], strict=True))
        if distance > tolerance["box_pixels"]:
            return f"{detection.label} is {distance:.1f} pixels off"
        if abs(detection.confidence - entry["confidence"]) > tolerance["confidence"]:
            return f"{detection.label} has confidence {detection.confidence:.3f} instead of {entry['confidence']:.3f}"
    return ""
