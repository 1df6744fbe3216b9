"""Two vectors a frame: `semantic`, which texts and pictures are compared with, and `visual`, for pictures alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from processors.frame import Frame, Invalid, Verdicts
from schemas.events import Embedding
from schemas.points import SEMANTIC, VISUAL
from schemas.results import OUT_OF_DOMAIN_RESULT, OutOfDomain, register

if TYPE_CHECKING:
    from processors.models.clip import Clip
    from processors.models.vit import Vit


register("embed", OutOfDomain)


class EmbedSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[stages.embed]`. The wiring layer fills folders that are empty from the preset."""

    weights: str = ""
    """Folder of a CLIP-like model for the vector `semantic`; empty: the preset's."""
    visual_weights: str = ""
    """Folder of a ViT for the vector `visual`; empty: the preset's."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Precision of the computation; `auto` is `fp32` on a CPU and `bf16` on CUDA."""
    fit: Literal["", "crop", "pad", "stretch"] = ""
    """How a picture is made square; empty: as each checkpoint's card says, else `pad`. Another fit is another model
    set."""


class Embed:
    """Computes the frame's embeddings, float32 and of unit length whatever the precision.

    `results["embed"]` says so if texts cannot be compared with the frame, because it is outside the model's domain.
    """

    Settings = EmbedSettings

    name, lane = "embed", "gpu"
    requires, provides = frozenset({"pixels"}), frozenset({"embeddings"})
    shed_first = True
    model, revision = "", ""

    def __init__(self, settings: EmbedSettings) -> None:
        self._settings = settings
        self._semantic: Clip | None = None
        self._visual: Vit | None = None

    def open(self, device: str) -> None:
        """Raises `WrongWeights` when files are missing or give another vector of the reference picture."""
        from processors.models.clip import Clip
        from processors.models.vit import Vit

        settings = self._settings
        fit = settings.fit or None
        self._semantic = Clip.load(settings.weights, device=device, precision=settings.precision, fit=fit)
        self._visual = Vit.load(settings.visual_weights, device=device, precision=settings.precision, fit=fit)
        adapters = self._semantic, self._visual
        for adapter in adapters:
            adapter.check_reference()
            adapter.embed_images([np.zeros((64, 64, 3), np.uint8)])
        self.model = "+".join(adapter.name for adapter in adapters)
        self.revision = "+".join(adapter.revision for adapter in adapters)

    def process(self, frames: Sequence[Frame]) -> Verdicts:
        if not frames:
            return []
        assert self._semantic is not None and self._visual is not None  # noqa: PT018, S101 - `open` comes first
        from processors.models.vectors import usable

        images = [frame.pixels for frame in frames if frame.pixels is not None]
        semantic, outside = self._semantic.embed_in_domain(images)
        vectors = {SEMANTIC: semantic, VISUAL: self._visual.embed_images(images)}
        adapters: dict[str, Clip | Vit] = {SEMANTIC: self._semantic, VISUAL: self._visual}
        valid = np.logical_and.reduce([usable(rows) for rows in vectors.values()])
        for row, frame in enumerate(frames):
            frame.embeddings = tuple(
                Embedding(
                    name=name,
                    model=f"{adapter.name}@{adapter.revision}",
                    dimension=adapter.dimension,
                    vector=vectors[name][row].astype("<f4").tobytes(),
                )
                for name, adapter in adapters.items()
                if valid[row]
            )
            if outside[row]:
                frame.results[self.name] = OUT_OF_DOMAIN_RESULT
        return [None if ok else Invalid("unusable_vector", "the model gave no finite vector") for ok in valid]

    def close(self) -> None:
        self._semantic = self._visual = None
