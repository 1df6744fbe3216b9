"""Pictures and texts in one space, by any model of transformers with both towers (Radford et al. 2021: CLIP)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from processors.errors import WrongWeights
from processors.models import checkpoint
from processors.models.checkpoint import Precision, ResolvedPrecision
from processors.models.domain import outside
from processors.models.model_card import Fit, ModelCard, check_vector
from processors.models.out_of_memory import translate_out_of_memory
from processors.models.preprocess import Image
from processors.models.pretrained import Pretrained
from processors.models.vectors import unit

TEXT_BATCH_SIZE = 128


class Clip(Pretrained):
    """A dual encoder. Each vector has `dimension` numbers."""

    architecture = "AutoModel"
    title = "CLIP"

    def __init__(self, folder: Path, model: Any, *, device: str, precision: ResolvedPrecision, fit: Fit) -> None:
        super().__init__(folder, model, device=device, precision=precision, fit=fit)
        self._tokenizer = checkpoint.load_tokenizer(folder)
        # SigLIP was trained on padded texts. CLIP's text tower is causal, so padding changes nothing and is left out.
        self._padding: str | bool = "max_length" if "siglip" in model.config.model_type else True
        self._most_tokens = int(model.config.text_config.max_position_embeddings)
        self.logit_scale = float(model.logit_scale.exp())
        """The factor of cosines before the softmax over candidate texts."""
        self.dimension = int(self.embed_texts(["a"]).shape[1])

    @classmethod
    def load(
        cls, folder: str | Path, *, device: str = "cpu", precision: Precision = "auto", fit: Fit | None = None
    ) -> Self:
        """As `Pretrained.load`; also raises `WrongWeights` for a model without both towers."""
        path = checkpoint.checkpoint_folder(folder, cls.title)
        if not {"text_config", "vision_config"} <= checkpoint.read_configuration(path).keys():
            raise WrongWeights(f"{path}: config.json describes no pair of towers; a CLIP-like model is wanted")
        return super().load(path, device=device, precision=precision, fit=fit)

    def embed_images(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """Unit vectors [n, dimension] of pictures uint8 RGB [height, width, 3]. Raises `OutOfMemory`."""
        import torch

        with translate_out_of_memory(), torch.inference_mode():
            pixels = self.preprocess(images).to(self.device, self._model.dtype)
            return unit(self._model.get_image_features(pixel_values=pixels).pooler_output)

    def embed_in_domain(self, images: Sequence[Image]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """As `embed_images`, and which pictures [n] are outside the model's domain: texts say nothing about them."""
        return self.embed_images(images), outside(self.domain, images)

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors [n, dimension]. Texts are truncated to the model's length, batches padded to their longest.

        Raises `OutOfMemory`.
        """
        import torch

        rows = []
        with translate_out_of_memory(), torch.inference_mode():
            for first in range(0, len(texts), TEXT_BATCH_SIZE):
                tokens = self._tokenizer(
                    list(texts[first : first + TEXT_BATCH_SIZE]),
                    padding=self._padding,
                    truncation=True,
                    max_length=self._most_tokens,
                    return_tensors="pt",
                ).to(self.device)
                rows.append(unit(self._model.get_text_features(**tokens).pooler_output))
        return np.concatenate(rows) if rows else np.zeros((0, self.dimension), np.float32)

    def check_answer(self, card: ModelCard, picture: Image) -> None:
        """`card.expected` is the picture's vector, see `check_vector`."""
        check_vector(self.folder, card, self.embed_images([picture])[0])
