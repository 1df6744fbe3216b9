"""How a picture looks, regardless of words: a plain vision transformer (Dosovitskiy et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from processors.models import loading
from processors.models.card import Card, Fit, check_revision, check_vector, read_card, reference_picture
from processors.models.memory import out_of_memory_named
from processors.models.preprocess import Image, Preprocess
from processors.models.vectors import unit


class Vit:
    """Its vector is the first token of the last layer, after the final norm (or the patches' mean, where the card says
    so); the pooling layer is left out, since checkpoints trained to classify do not have one."""

    def __init__(self, folder: Path, model: Any, *, device: str, precision: loading.Exact, fit: Fit) -> None:
        self.folder, self.device, self.precision = folder, device, precision
        self.card: Card | None = read_card(folder)
        self.preprocess = Preprocess.of(folder, fit)
        self.revision = loading.revision(folder, fit)
        self.name = folder.name
        self.dimension = int(model.config.hidden_size)
        self._model = model

    @classmethod
    def load(
        cls, folder: str | Path, *, device: str = "cpu", precision: loading.Precision = "auto", fit: Fit | None = None
    ) -> Self:
        """`fit` None: as the card beside the weights says, else `pad`. Raises `WrongWeights`."""
        path, exact = loading.existing(folder, "ViT"), loading.exact(precision, device)
        model = loading.load_model(path, "ViTModel", device=device, precision=exact, add_pooling_layer=False)
        card = read_card(path)
        return cls(path, model, device=device, precision=exact, fit=fit or (card.fit if card else "pad"))

    def embed_images(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """Unit vectors [n, dimension] of pictures uint8 RGB [height, width, 3]. Raises `OutOfMemory`."""
        import torch

        with out_of_memory_named(), torch.inference_mode():
            pixels = self.preprocess(images).to(self.device, self._model.dtype)
            tokens = self._model(pixel_values=pixels).last_hidden_state
            mean = self.card is not None and self.card.pooling == "mean"
            return unit(tokens[:, 1:].mean(1) if mean else tokens[:, 0])

    def check_reference(self) -> None:
        """Raises `WrongWeights` when revision or vector of the reference picture are not those of the card."""
        if self.card is None or self.card.fit != self.preprocess.fit:
            return
        check_revision(self.folder, self.card, self.revision)
        if self.card.expected is not None:
            check_vector(self.folder, self.card, self.embed_images([reference_picture(self.folder)])[0])
