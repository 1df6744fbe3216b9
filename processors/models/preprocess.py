"""From upright RGB pixels to a model's input: one `fit` per model, part of its revision, the same for all feeds.

`pad`      the whole picture: scaled so that its longer side is the model's size (OpenCV's INTER_AREA when it shrinks,
           INTER_LINEAR when it grows; the shorter side rounded), centered, surrounded by the mean color. An odd rest
           goes to the right and to the bottom. The presets' own fit, and the one tinyworld trains with.
`crop`     the middle: the shorter side scaled to the model's, the rest cut off (44 % of a 16:9 picture).
`stretch`  the whole picture, its aspect ratio lost.

`crop` and `stretch` resample as the library's own processors do (antialiased, bicubic or bilinear as the model's
configuration says), so that for CLIP `crop` and for ViT and BLIP `stretch` give what those processors give.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from processors.errors import WrongWeights
from processors.models.checkpoint import translate_load_errors
from processors.models.model_card import Fit
from processors.opencv import cv2

if TYPE_CHECKING:
    import torch

Image = NDArray[np.uint8]
BICUBIC = 3
"""PIL's number, which configurations hold; every other value is treated as bilinear (2)."""


@dataclass(frozen=True, slots=True)
class Preprocessor:
    """`size`: the input's side in pixels; `edge`: the shorter side before the crop; `mean`, `std` of RGB in 0..1."""

    size: int
    fit: Fit
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    edge: int
    mode: str

    @classmethod
    def from_folder(cls, folder: Path, fit: Fit) -> Self:
        """From the processor's configuration in `folder`. Raises `WrongWeights` when it is missing or not square."""
        with translate_load_errors(folder):
            processor = _library_processor(folder)
        crop = processor.crop_size if getattr(processor, "do_center_crop", None) else None
        height, width = _sides(crop or processor.size)
        if height != width:
            raise WrongWeights(f"{folder}: the model wants {height} × {width} pixels; only squares are supported")
        edge = processor.size.shortest_edge if getattr(processor.size, "shortest_edge", None) else height
        mode = "bicubic" if int(processor.resample) == BICUBIC else "bilinear"
        return cls(height, fit, tuple(processor.image_mean), tuple(processor.image_std), edge, mode)

    def __call__(self, images: Sequence[Image]) -> torch.Tensor:
        """Pictures uint8 RGB [height, width, 3] of any sizes as float32 [n, 3, size, size] on the CPU."""
        import torch

        batch = np.zeros((len(images), 3, self.size, self.size), np.float32)
        write = {"pad": self._pad, "crop": self._crop, "stretch": self._stretch}[self.fit]
        for row, image in zip(batch, images, strict=True):
            write(row, image)
        return torch.from_numpy(batch)

    def _pad(self, row: NDArray[np.float32], image: Image) -> None:
        height, width = image.shape[:2]
        scale = self.size / max(height, width)
        inner = max(round(width * scale), 1), max(round(height * scale), 1)
        if inner != (width, height):
            interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            image = np.asarray(cv2.resize(image, inner, interpolation=interpolation), np.uint8)
        left, top = (self.size - inner[0]) // 2, (self.size - inner[1]) // 2
        row[:, top : top + inner[1], left : left + inner[0]] = self._normalized(image)

    def _crop(self, row: NDArray[np.float32], image: Image) -> None:
        height, width = image.shape[:2]
        scale = self.edge / min(height, width)
        inner = (self.edge, int(width * scale)) if height <= width else (int(height * scale), self.edge)
        small = self._resized(image, *inner)
        top, left = (inner[0] - self.size) // 2, (inner[1] - self.size) // 2
        row[:] = self._normalized(small[top : top + self.size, left : left + self.size])

    def _stretch(self, row: NDArray[np.float32], image: Image) -> None:
        row[:] = self._normalized(self._resized(image, self.size, self.size))

    def _resized(self, image: Image, height: int, width: int) -> Image:
        import torch
        from torch.nn.functional import interpolate

        planes = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
        small = interpolate(planes, (height, width), mode=self.mode, align_corners=False, antialias=True)
        return np.asarray(small[0].permute(1, 2, 0).numpy(), np.uint8)

    def _normalized(self, image: Image) -> NDArray[np.float32]:
        """[3, height, width], the mean color at zero."""
        factor = 1 / (255 * np.asarray(self.std, np.float32))
        shift = np.asarray(self.mean, np.float32) / np.asarray(self.std, np.float32)
        return np.asarray((image * factor - shift).transpose(2, 0, 1), np.float32)


def _library_processor(folder: Path) -> Any:
    """The library's own processor, for its configuration. Older folders name a class that has another name since."""
    import transformers

    configuration, _ = transformers.ImageProcessingMixin.get_image_processor_dict(folder, local_files_only=True)
    named = str(configuration.get("image_processor_type") or "")
    kind = named.replace("FeatureExtractor", "ImageProcessor") if named.endswith("FeatureExtractor") else ""
    return getattr(transformers, kind or "AutoImageProcessor").from_pretrained(folder, local_files_only=True)


def _sides(size: Any) -> tuple[int, int]:
    """Height and width in pixels of a processor's size or crop size."""
    if getattr(size, "height", None):
        return int(size.height), int(size.width)
    edge = int(getattr(size, "shortest_edge", None) or size.longest_edge)
    return edge, edge
