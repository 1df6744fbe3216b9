"""How a picture looks, regardless of words: a plain vision transformer (Dosovitskiy et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from processors.models.checkpoint import ResolvedPrecision
from processors.models.model_card import Fit, ModelCard, check_vector
from processors.models.out_of_memory import translate_out_of_memory
from processors.models.preprocess import Image
from processors.models.pretrained import Pretrained
from processors.models.vectors import unit


class Vit(Pretrained):
    """The vector is the first token of the last layer after the final norm, or the patches' mean if the card says so.

    The pooling layer is left out, since checkpoints trained to classify do not have one.
    """

    architecture = "ViTModel"
    title = "ViT"
    options: ClassVar[dict[str, Any]] = {"add_pooling_layer": False}

    def __init__(self, folder: Path, model: Any, *, device: str, precision: ResolvedPrecision, fit: Fit) -> None:
        super().__init__(folder, model, device=device, precision=precision, fit=fit)
        self.dimension = int(model.config.hidden_size)

    def embed_images(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """Unit vectors [n, dimension] of pictures uint8 RGB [height, width, 3]. Raises `OutOfMemory`."""
        import torch

        with translate_out_of_memory(), torch.inference_mode():
            pixels = self.preprocess(images).to(self.device, self._model.dtype)
            tokens = self._model(pixel_values=pixels).last_hidden_state
            mean = self.card is not None and self.card.pooling == "mean"
            return unit(tokens[:, 1:].mean(1) if mean else tokens[:, 0])

    def check_answer(self, card: ModelCard, picture: Image) -> None:
        """`card.expected` is the picture's vector, see `check_vector`."""
        check_vector(self.folder, card, self.embed_images([picture])[0])
