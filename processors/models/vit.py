"""How a picture looks, regardless of words: a plain vision transformer (Dosovitskiy et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from processors.models import loading
from processors.models.card import Card, Fit, check_vector
from processors.models.memory import out_of_memory_named
from processors.models.preprocess import Image
from processors.models.pretrained import Pretrained
from processors.models.vectors import unit


class Vit(Pretrained):
    """Its vector is the first token of the last layer, after the final norm (or the patches' mean, where the card says
    so); the pooling layer is left out, since checkpoints trained to classify do not have one."""

    architecture = "ViTModel"
    title = "ViT"
    options: ClassVar[dict[str, Any]] = {"add_pooling_layer": False}

    def __init__(self, folder: Path, model: Any, *, device: str, precision: loading.Exact, fit: Fit) -> None:
        super().__init__(folder, model, device=device, precision=precision, fit=fit)
        self.dimension = int(model.config.hidden_size)

    def embed_images(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """Unit vectors [n, dimension] of pictures uint8 RGB [height, width, 3]. Raises `OutOfMemory`."""
        import torch

        with out_of_memory_named(), torch.inference_mode():
            pixels = self.preprocess(images).to(self.device, self._model.dtype)
            tokens = self._model(pixel_values=pixels).last_hidden_state
            mean = self.card is not None and self.card.pooling == "mean"
            return unit(tokens[:, 1:].mean(1) if mean else tokens[:, 0])

    def check_answer(self, card: Card, picture: Image) -> None:
        check_vector(self.folder, card, self.embed_images([picture])[0])
