"""Pictures and texts in one space, by any model of transformers that has both towers (Radford et al. 2021: CLIP)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from processors.errors import WrongWeights
from processors.models import loading
from processors.models.card import Card, Fit, check_vector
from processors.models.memory import out_of_memory_named
from processors.models.preprocess import Image
from processors.models.pretrained import Pretrained
from processors.models.vectors import unit

TEXTS_AT_ONCE = 128


class Clip(Pretrained):
    """`dimension` numbers a vector."""

    architecture = "AutoModel"
    title = "CLIP"

    def __init__(self, folder: Path, model: Any, *, device: str, precision: loading.Exact, fit: Fit) -> None:
        super().__init__(folder, model, device=device, precision=precision, fit=fit)
        self._tokenizer = loading.load_tokenizer(folder)
        # SigLIP was trained on padded texts; CLIP's text tower is causal, so padding changes nothing and is left out.
        self._padding: str | bool = "max_length" if "siglip" in model.config.model_type else True
        self._most_tokens = int(model.config.text_config.max_position_embeddings)
        self.logit_scale = float(model.logit_scale.exp())
        """What cosines are multiplied with before the softmax over candidate texts."""
        self.dimension = int(self.embed_texts(["a"]).shape[1])

    @classmethod
    def load(
        cls, folder: str | Path, *, device: str = "cpu", precision: loading.Precision = "auto", fit: Fit | None = None
    ) -> Self:
        """As of every model; refuses one that has not both towers."""
        path = loading.existing(folder, cls.title)
        if not {"text_config", "vision_config"} <= loading.configuration(path).keys():
            raise WrongWeights(f"{path}: config.json describes no pair of towers; a CLIP-like model is wanted")
        return super().load(path, device=device, precision=precision, fit=fit)

    def embed_images(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """Unit vectors [n, dimension] of pictures uint8 RGB [height, width, 3]. Raises `OutOfMemory`."""
        import torch

        with out_of_memory_named(), torch.inference_mode():
            pixels = self.preprocess(images).to(self.device, self._model.dtype)
            return unit(self._model.get_image_features(pixel_values=pixels).pooler_output)

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors [n, dimension]; texts are cut to what the model reads, batches trimmed to their longest."""
        import torch

        rows = []
        with out_of_memory_named(), torch.inference_mode():
            for first in range(0, len(texts), TEXTS_AT_ONCE):
                tokens = self._tokenizer(
                    list(texts[first : first + TEXTS_AT_ONCE]),
                    padding=self._padding,
                    truncation=True,
                    max_length=self._most_tokens,
                    return_tensors="pt",
                ).to(self.device)
                rows.append(unit(self._model.get_text_features(**tokens).pooler_output))
        return np.concatenate(rows) if rows else np.zeros((0, self.dimension), np.float32)

    def check_answer(self, card: Card, picture: Image) -> None:
        check_vector(self.folder, card, self.embed_images([picture])[0])
