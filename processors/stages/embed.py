"""Two vectors a frame: `semantic`, which texts are compared with, and `visual`, which only pictures are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import msgspec
import numpy as np

from processors.frame import Frame, Invalid, Verdicts
from processors.stage import Lane
from schemas.events import Embedding

if TYPE_CHECKING:
    from processors.models.clip import Clip
    from processors.models.vit import Vit


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
    """Computes the frame's embeddings, float32 and of unit length whatever the precision."""

    name: ClassVar[str] = "embed"
    lane: ClassVar[Lane] = "gpu"
    requires: ClassVar[frozenset[str]] = frozenset({"pixels"})
    provides: ClassVar[frozenset[str]] = frozenset({"embeddings"})
    Settings: ClassVar[type[EmbedSettings]] = EmbedSettings

    model: str = ""
    revision: str = ""

    def __init__(self, settings: EmbedSettings) -> None:
        self._settings = settings
        self._semantic: Clip | None = None
        self._visual: Vit | None = None

    def open(self, device: str) -> None:
        """Raises `WrongWeights` when files are missing or answer wrongly to their reference picture."""
        from processors.models.clip import Clip
        from processors.models.vit import Vit

        settings = self._settings
        fit = settings.fit or None
        self._semantic = Clip.load(settings.weights, device=device, precision=settings.precision, fit=fit)
        self._visual = Vit.load(settings.visual_weights, device=device, precision=settings.precision, fit=fit)
        adapters: tuple[Clip | Vit, ...] = (self._semantic, self._visual)
        for adapter in adapters:
            adapter.check_reference()
            adapter.embed_images([np.zeros((64, 64, 3), np.uint8)])
        self.model = f"{self._semantic.name}+{self._visual.name}"
        self.revision = f"{self._semantic.revision}+{self._visual.revision}"

    def process(self, frames: Sequence[Frame]) -> Verdicts:
        assert self._semantic is not None  # noqa: S101 - `open` comes first
        assert self._visual is not None  # noqa: S101
        if not frames:
            return []
        from processors.models.vectors import usable

        images = [frame.pixels for frame in frames if frame.pixels is not None]
        named: dict[str, Clip | Vit] = {"semantic": self._semantic, "visual": self._visual}
        rows = {name: adapter.embed_images(images) for name, adapter in named.items()}
        fine = usable(rows["semantic"]) & usable(rows["visual"])
        for place, frame in enumerate(frames):
            frame.embeddings = tuple(
                Embedding(
                    name=name,
                    model=f"{adapter.name}@{adapter.revision}",
                    dimension=adapter.dimension,
                    vector=rows[name][place].astype("<f4").tobytes(),
                )
                for name, adapter in named.items()
                if fine[place]
            )
        return [None if good else Invalid("unusable_vector", "the model gave no finite vector") for good in fine]

    def close(self) -> None:
        self._semantic = self._visual = None
