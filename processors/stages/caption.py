"""A sentence about each frame, and the words of it that filters use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta

from processors.frame import Frame, Verdicts
from processors.keywords import keywords
from schemas.events import Caption as CaptionText
from schemas.results import OUT_OF_DOMAIN_RESULT, OutOfDomain, register

if TYPE_CHECKING:
    from processors.models.blip import Blip


register("caption", OutOfDomain)


class FeedCaption(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[stages.caption.feeds.NAME]`."""

    prompt: str
    """How this feed's captions begin."""


class CaptionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[stages.caption]`. The wiring layer fills `weights` from the preset when it is empty."""

    weights: str = ""
    """Folder of a BLIP model; empty: the preset's."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Precision of the computation; `auto` is `fp32` on a CPU and `bf16` on CUDA."""
    fit: Literal["", "crop", "pad", "stretch"] = ""
    """How a picture is made square; empty: as the checkpoint's card says, else `pad`."""
    prompt: str = ""
    """How captions begin ("a photo of"); the model goes on from there."""
    most_tokens: Annotated[int, Meta(ge=1, le=200)] = 48
    """Maximum length of a caption in tokens."""
    least_tokens: Annotated[int, Meta(ge=0)] = 0
    """Minimum length of a caption in tokens; equal to `most_tokens`, every caption takes the same time."""
    feeds: dict[str, FeedCaption] = {}


class Caption:
    """Describes frames with BLIP; greedy, so that the same picture has the same caption.

    A frame outside the model's domain has no caption, and `results["caption"]` says so.
    """

    Settings = CaptionSettings

    name, lane = "caption", "gpu"
    requires, provides = frozenset({"pixels"}), frozenset({"captions", "keywords"})
    shed_first = True
    model, revision = "", ""

    def __init__(self, settings: CaptionSettings) -> None:
        self._settings = settings
        self._prompts = {feed: override.prompt for feed, override in settings.feeds.items()}
        self._blip: Blip | None = None

    def open(self, device: str) -> None:
        """Raises `WrongWeights` when files are missing or give another caption of the reference picture."""
        from processors.models.blip import Blip

        settings = self._settings
        self._blip = Blip.load(settings.weights, device=device, precision=settings.precision, fit=settings.fit or None)
        self._blip.check_reference()
        self._blip.caption([np.zeros((64, 64, 3), np.uint8)], most_tokens=2)
        self.model, self.revision = self._blip.name, self._blip.revision

    def process(self, frames: Sequence[Frame]) -> Verdicts:
        assert self._blip is not None  # noqa: S101 - `open` comes first
        prompts = [self._prompts.get(frame.feed, self._settings.prompt) for frame in frames]
        texts = self._blip.caption_in_domain(
            [frame.pixels for frame in frames if frame.pixels is not None],
            prompts,
            most_tokens=self._settings.most_tokens,
            least_tokens=self._settings.least_tokens,
        )
        for frame, prompt, text in zip(frames, prompts, texts, strict=True):
            if text is None:
                frame.results[self.name] = OUT_OF_DOMAIN_RESULT
                continue
            frame.captions = (CaptionText(text=text, model=f"{self.model}@{self.revision}", prompt=prompt),)
            frame.keywords = keywords([text])
        return [None] * len(frames)

    def close(self) -> None:
        self._blip = None
